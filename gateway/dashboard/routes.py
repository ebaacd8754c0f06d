"""Where everything of the dashboard is found."""

from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from gateway import failures
from gateway.dashboard.events.somebody import Somebody
from gateway.dashboard.page import frame, rendering, signing_in
from gateway.dashboard.page.answers import SignInNeededError
from gateway.dashboard.page.frame import PREFIX
from gateway.dashboard.page.signing_in import SigningIn
from gateway.dashboard.snapshots import page
from shared.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from gateway.dashboard.page.surroundings import Surroundings
    from gateway.dashboard.page.tab import Tab

_GZIPPED_BYTES = 1_000
_LARGEST_FORM_BYTES = 65_536


def routes(surroundings: "Surroundings", tabs: "Sequence[Tab]") -> list[BaseRoute]:
    """Return the routes below /admin/analytics, with all that a first page would have to wait for."""
    rendering.prepare()
    frame.zones()
    signing = SigningIn(surroundings)
    dashboard = Starlette(
        routes=[
            Mount("/static", StaticFiles(directory=rendering.STATIC)),
            *_pages(signing, tabs),
        ],
        middleware=[
            Middleware(rendering.Guarded),
            Middleware(GZipMiddleware, minimum_size=_GZIPPED_BYTES),
        ],
        exception_handlers={
            SignInNeededError: signing.needed,
            ServiceError: _failed,
            HTTPException: _failed,
        },
    )
    return [Mount(PREFIX, dashboard, max_body_size=_LARGEST_FORM_BYTES)]


def _pages(signing: SigningIn, tabs: "Sequence[Tab]") -> list[BaseRoute]:
    somebody = Somebody(signing)
    return [
        Route("/", _home, methods=["GET"]),
        Route("/sign-in", signing.show, methods=["GET"]),
        Route("/sign-in", signing.sign_in, methods=["POST"]),
        Route("/sign-out", signing.sign_out, methods=["POST"]),
        Route("/user", somebody.show, methods=["GET"]),
        Route("/user/time_line.csv", somebody.file, methods=["GET"]),
        *page.routes(signing),
        *(route for tab in tabs for route in tab.routes(signing)),
    ]


async def _home(request: "Request") -> Response:
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"{signing_in.HOME}{query}", 307)


async def _failed(request: "Request", error: Exception) -> Response:
    failure = failures.of_error(error)
    if failure.message == HTTPStatus.NOT_FOUND.phrase:
        failure = replace(failure, message="There is no page at this address.")
    values = {
        "failure": failure,
        "theme": signing_in.theme(request),
        "home": signing_in.HOME,
        "retry": _again(request),
    }
    headers = error.headers if isinstance(error, HTTPException) else None
    response = rendering.page("failed.html", values, failure.code)
    response.headers.update(headers or {})
    return response


def _again(request: "Request") -> str:
    """Return what to open to try again: the page itself, or the one whose form failed."""
    if request.method == "GET":
        return str(request.url.replace(scheme="", netloc=""))
    came_from = urlsplit(request.headers.get("referer", ""))
    return signing_in.inside("?".join(filter(None, (came_from.path, came_from.query))))
