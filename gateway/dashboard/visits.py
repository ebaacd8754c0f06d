"""A request of somebody signed in, read; and the parts of an answer that every tab has."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from brain.metrics.v1 import metrics_pb2
from starlette.responses import RedirectResponse, Response

from gateway.dashboard import (
    cards,
    csv_files,
    frame,
    goal_card,
    insights,
    movers,
    rendering,
    scope,
    sessions,
    signing_in,
    unusual_days,
)
from gateway.dashboard.answers import Failure, Questions
from gateway.dashboard.frame import Person
from gateway.dashboard.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.requests import Request

    from gateway.dashboard.csv_files import Cell
    from gateway.dashboard.signing_in import SigningIn
    from gateway.dashboard.surroundings import Surroundings
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
            self.surroundings.tabs,
            notice,
        )
        return rendering.page(template, {"frame": around, **values})


@dataclass(frozen=True, slots=True)
class Overview:
    """What stands above every tab."""

    cards: tuple[cards.Card, ...]
    insights: tuple[insights.Insight, ...]
    goal: goal_card.GoalCard | None = None
    trouble: str = ""
    # Why days out of the ordinary are not marked.
    unmarked: str = ""


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


async def overview(visit: Visit) -> Overview:
    """Read the cards and insights of the visited days."""
    listed, answered, goal, moved, unusual = await asyncio.gather(
        visit.questions.metrics(metrics_pb2.ListMetricsRequest(page_size=1_000)),
        visit.questions.series(cards.request(visit.scope)),
        goal_card.read(visit),
        _moved(visit),
        unusual_days.read(visit, [plan.metric for plan in cards.PLANS], cards.LEAST_SPARK_DAYS),
    )
    if isinstance(listed, Failure):
        return Overview((), (), trouble=listed.text)
    if isinstance(answered, Failure):
        return Overview((), (), trouble=answered.text)
    found = cards.read(listed, answered, visit.scope)
    currency = visit.surroundings.currency
    return Overview(
        cards.cards(found, visit.scope, currency, unusual),
        insights.insights(found, moved, visit.scope, currency, unusual),
        goal,
        unmarked=unusual.trouble,
    )


async def _moved(visit: Visit) -> tuple[movers.Mover, ...]:
    asked = movers.request(visit.scope)
    counted = Failure("") if asked is None else await visit.questions.count(asked)
    return () if isinstance(counted, Failure) else movers.movers(counted, visit.scope)


def file(name: str, header: "Sequence[str]", rows: "Iterable[Sequence[Cell]]") -> Response:
    """Return a table for spreadsheets."""
    return Response(
        # The mark tells Excel that this is UTF-8.
        "\N{ZERO WIDTH NO-BREAK SPACE}" + csv_files.written(header, rows),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}.csv"'},
    )
