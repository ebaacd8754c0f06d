"""A request of somebody signed in, read; and the pages and files that answer it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from gateway.dashboard.page import csv_files, frame, rendering, scope, sessions, signing_in
from gateway.dashboard.page.answers import Questions
from gateway.dashboard.page.frame import Person
from gateway.dashboard.page.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from gateway.dashboard.page.csv_files import Cell
    from gateway.dashboard.page.signing_in import SigningIn
    from gateway.dashboard.page.surroundings import Surroundings
    from shared.validation import Violations


@dataclass(frozen=True)
class Visit:
    """Who asks, for which days, and the way to ask in their name."""

    surroundings: "Surroundings"
    path: str
    person: Person
    questions: Questions
    scope: Scope
    # Of the address, as they came.
    parameters: Mapping[str, str]
    # What the browser is to keep, where it has nothing yet, so that its forms are taken.
    new_post_secret: str = ""
    notice: "frame.Notice | None" = None

    def page(self, template: str, tab: str, own: Mapping[str, str], values: Mapping[str, object]) -> Response:
        """Return a view in its frame. `own` are the parameters of the view itself."""
        response = self._rendered(template, tab, own, values, self.notice)
        if self.new_post_secret:
            secure = self.surroundings.secure_cookies
            sessions.keep(response, sessions.POST_COOKIE, self.new_post_secret, secure=secure)
        if self.notice is not None:
            response.delete_cookie(sessions.NOTICE_COOKIE, path=frame.PREFIX)
        return response

    def part(self, template: str, tab: str, values: Mapping[str, object]) -> Response:
        """Return a part of a view, which asks for itself."""
        return self._rendered(template, tab, {}, values, None)

    def back(self, tab: str, own: Mapping[str, str], notice: "frame.Notice") -> Response:
        """Lead from an action to a tab's view, which then tells what became of it."""
        address = f"{frame.PREFIX}/{tab}?{urlencode(self.scope.parameters() | dict(own))}"
        response = RedirectResponse(address, 303)
        sessions.leave_notice(response, notice, secure=self.surroundings.secure_cookies)
        return response

    def _rendered(
        self,
        template: str,
        tab: str,
        own: Mapping[str, str],
        values: Mapping[str, object],
        notice: "frame.Notice | None",
    ) -> Response:
        place = frame.Place(tab, self.path, own)
        around = frame.frame(
            place,
            self.scope,
            self.person,
            self.surroundings.environment,
            self.surroundings.tab_titles,
            notice,
        )
        return rendering.page(template, {"frame": around, **values})


async def arrived(signing: "SigningIn", request: "Request", violations: "Violations") -> Visit:
    """Read who asks and for which days; raise SignInNeededError."""
    asker = await signing.visitor(request)
    surroundings = signing.surroundings
    now = datetime.fromtimestamp(surroundings.access.clock(), UTC)
    kept = request.cookies.get(sessions.POST_COOKIE, "")
    secret = kept or sessions.new_post_secret()
    return Visit(
        surroundings,
        request.url.path,
        signing_in.person(request, asker, secret),
        Questions(surroundings, asker.token),
        scope.read(violations, request.query_params, now, surroundings.reporting_zone),
        dict(request.query_params),
        "" if kept else secret,
        sessions.read_notice(request.cookies.get(sessions.NOTICE_COOKIE, "")),
    )


async def posted(
    signing: "SigningIn", request: "Request", violations: "Violations"
) -> tuple[Visit, dict[str, str]]:
    """Read who posts a form of ours, and its fields; raise SignInNeededError, HTTPException."""
    fields = await signing_in.proven_form(request)
    return await arrived(signing, request, violations), fields


def file(name: str, header: "Sequence[str]", rows: "Iterable[Sequence[Cell]]") -> Response:
    """Return a table for spreadsheets."""
    return Response(
        # The mark tells Excel that this is UTF-8.
        "\N{ZERO WIDTH NO-BREAK SPACE}" + csv_files.written(header, rows),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}.csv"'},
    )
