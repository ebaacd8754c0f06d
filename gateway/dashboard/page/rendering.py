"""Pages out of templates, and the headers that keep browsers from doing anything else with them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse

from gateway.dashboard.page.frame import PREFIX

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC: Final = Path(__file__).parents[1] / "static"

# Nothing is fetched from elsewhere, and nothing inline runs, whatever people put into their events.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_PAGES_CACHE: Final = "no-store"
# Addresses of static files change with their contents.
_STATIC_CACHE: Final = "public, max-age=31536000, immutable"

_templates: Final = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1] / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@cache
def static_address(name: str) -> str:
    """Return the address of a static file, with a part that changes with its contents."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"{PREFIX}/static/{name}?v={digest}"


_templates.globals["static"] = static_address


def prepare() -> None:
    """Compile every template, so that the first visitor does not wait for it."""
    for name in _templates.list_templates():
        _templates.get_template(name)


def page(template: str, values: Mapping[str, object], status: int = 200) -> HTMLResponse:
    """Return a template's page. Every text in it is escaped."""
    return HTMLResponse(_templates.get_template(template).render(values), status)


@dataclass(frozen=True)
class Guarded:
    """Sets the headers of every answer of the dashboard."""

    app: "ASGIApp"

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass everything on, the start of an answer with more headers."""
        is_static = scope["type"] == "http" and f"{PREFIX}/static/" in scope["path"]

        async def send_guarded(message: "Message") -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                lasting = is_static and message["status"] in {200, 304}
                headers["cache-control"] = _STATIC_CACHE if lasting else _PAGES_CACHE
            await send(message)

        await self.app(scope, receive, send_guarded)
