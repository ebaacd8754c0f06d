"""Signing in and out, and who is signed in."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, urlencode

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from gateway.dashboard.page import rendering, sessions
from gateway.dashboard.page.answers import SignInNeededError
from gateway.dashboard.page.frame import PREFIX, Person, read_theme
from gateway.dashboard.page.surroundings import Surroundings
from shared.auth import Role
from shared.errors import Unauthenticated

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.access import Asker

HOME: Final = f"{PREFIX}/events"

_FORM: Final = "application/x-www-form-urlencoded"
_FORM_BYTES: Final = 16_384
_THEME_COOKIE: Final = "brain_theme"


@dataclass(frozen=True)
class SigningIn:
    """The pages without which nobody sees the others."""

    surroundings: Surroundings

    async def visitor(self, request: "Request") -> "Asker":
        """Return who is signed in; raise SignInNeededError."""
        token = self._token(request)
        try:
            asker = await self.surroundings.access.of_token(token)
        except Unauthenticated:
            raise SignInNeededError from None
        if not asker.caller.may(Role.ANALYST):
            raise SignInNeededError
        request.state.caller = asker.caller.subject
        return asker

    async def show(self, request: "Request") -> Response:
        """Show the form."""
        return self._form(request, "", 200)

    async def sign_in(self, request: "Request") -> Response:
        """Take a token, and keep it sealed in a cookie."""
        fields = await proven_form(request)
        token = fields.get("token", "").strip()
        try:
            asker = await self.surroundings.access.of_token(token)
        except Unauthenticated as error:
            return self._form(request, f"That did not work: {error.message}.", 401)
        if not asker.caller.may(Role.ANALYST):
            return self._form(request, "This token may not look at numbers: it needs the role analyst.", 403)
        response = RedirectResponse(inside(request.query_params.get("next", "")), 303)
        kept = sessions.sealed(self.surroundings.cookie_keys, token, self.surroundings.access.clock())
        self._keep(response, sessions.SESSION_COOKIE, kept)
        self._keep(response, sessions.POST_COOKIE, request.cookies[sessions.POST_COOKIE])
        return response

    async def sign_out(self, request: "Request") -> Response:
        """Forget the token."""
        await proven_form(request)
        response = RedirectResponse(f"{PREFIX}/sign-in", 303)
        response.delete_cookie(sessions.SESSION_COOKIE, path=PREFIX)
        return response

    async def needed(self, request: "Request", _error: Exception) -> Response:
        """Send whoever is not signed in to the form, and back afterwards."""
        if request.method == "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            # A link on another site comes without our SameSite=Strict cookies, the page's own reload with.
            return rendering.page("arriving.html", {})
        # A part of a page asks for itself; who signs in wants the page.
        is_part = "hx-request" in request.headers and "hx-boosted" not in request.headers
        wanted = HOME if is_part else "?".join(filter(None, (request.url.path, request.url.query)))
        form = f"{PREFIX}/sign-in?{urlencode({'next': wanted})}"
        if "hx-request" in request.headers:
            return Response(status_code=204, headers={"hx-redirect": form})
        return RedirectResponse(form, 303)

    def _token(self, request: "Request") -> str:
        if self.surroundings.access.verifier is None:
            return ""
        cookie = request.cookies.get(sessions.SESSION_COOKIE, "")
        token = sessions.opened(self.surroundings.cookie_keys, cookie, self.surroundings.access.clock())
        if token is None:
            raise SignInNeededError
        return token

    def _form(self, request: "Request", trouble: str, status: int) -> Response:
        secret = request.cookies.get(sessions.POST_COOKIE) or sessions.new_post_secret()
        action = "?".join(filter(None, (f"{PREFIX}/sign-in", request.url.query)))
        shown = {
            "theme": theme(request),
            "environment": self.surroundings.environment,
            "proof": sessions.post_proof(secret),
            "trouble": trouble,
            "action": action,
        }
        response = rendering.page("sign_in.html", shown, status)
        self._keep(response, sessions.POST_COOKIE, secret)
        return response

    def _keep(self, response: Response, name: str, value: str) -> None:
        sessions.keep(response, name, value, secure=self.surroundings.secure_cookies)


def person(request: "Request", asker: "Asker", post_secret: str) -> Person:
    """Return who looks, and what their browser keeps."""
    return Person(
        asker.caller.subject,
        proof=sessions.post_proof(post_secret),
        is_signed_in=bool(asker.token),
        may_change=asker.caller.may(Role.ADMIN),
        theme=theme(request),
    )


def theme(request: "Request") -> str:
    """Return the theme that somebody chose, empty where nobody did."""
    return read_theme(request.cookies.get(_THEME_COOKIE, ""))


def inside(wanted: str) -> str:
    """Return an address of the dashboard: a form must not lead anywhere else."""
    is_ours = wanted.startswith(f"{PREFIX}/") and "\\" not in wanted and wanted.isprintable()
    return wanted if is_ours else HOME


async def proven_form(request: "Request") -> dict[str, str]:
    """Return the fields of a form of ours; raise HTTPException for one of anybody else's."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != _FORM:
        raise HTTPException(415, f"send {_FORM}")
    body = await request.body()
    if len(body) > _FORM_BYTES:
        raise HTTPException(413, f"the form is larger than {_FORM_BYTES} bytes")
    fields = dict(parse_qsl(body.decode("utf-8", "replace")))
    is_foreign = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
    secret = request.cookies.get(sessions.POST_COOKIE, "")
    if is_foreign or not sessions.is_proven(secret, fields.get("proof", "")):
        raise HTTPException(403, "the form did not come from this page: open it again")
    return fields
