"""The dashboard's first view over the shop's year: how long a server takes for it, and how much travels."""

import re
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from rich.console import Console

from benchmarks import gateway, measuring
from benchmarks.report import Line, milliseconds
from brain_client import Brain
from examples import online_retail

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from benchmarks.gateway import Gateway
    from benchmarks.stack import Stack

DATABASE = "first_view"
BAR_SECONDS = 0.3
BAR_BYTES = 200_000
HOME = "/admin/analytics/events?range=custom&from=2011-11-10&to=2011-12-09"
_FORM = {"content-type": "application/x-www-form-urlencoded"}


class Browser:
    """Keeps its connection and cookies, as browsers do."""

    def __init__(self, gateway: "Gateway", token: str) -> None:
        self._connection: HTTPConnection = gateway.connection()
        self._cookies: dict[str, str] = {}
        proof = re.search(rb'name="proof" value="(.*?)"', self.get("/admin/analytics/sign-in"))
        assert proof
        self._ask("POST", "/admin/analytics/sign-in", urlencode({"token": token, "proof": proof[1].decode()}))

    def get(self, path: str) -> bytes:
        """Return a page as it is, unpacked."""
        return self._ask("GET", path, None)

    def packed_bytes(self, path: str) -> int:
        """Return how much of a page travels."""
        self._connection.request("GET", path, headers={"accept-encoding": "gzip", "cookie": self._cookie})
        return len(self._connection.getresponse().read())

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    @property
    def _cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def _ask(self, method: str, path: str, body: str | None) -> bytes:
        self._connection.request(method, path, body, {"cookie": self._cookie, **(_FORM if body else {})})
        answer = self._connection.getresponse()
        for kept in answer.headers.get_all("set-cookie", []):
            name, _, value = kept.partition(";")[0].partition("=")
            self._cookies[name] = value
        assert answer.status in (200, 303)
        return answer.read()


def run(stack: "Stack", views: int) -> list[Line]:
    """Measure the first view of a gateway just started, and so many more."""
    stack.create(DATABASE)
    with stack.service(DATABASE) as service:
        with Brain(service.address, service.token) as brain:
            online_retail.import_events(brain, 0, Console(quiet=True))
        with gateway.running(stack, service) as before:
            browser = Browser(before, service.token)
            first = measuring.seconds(lambda: browser.get(HOME))
            others = [measuring.seconds(lambda: browser.get(HOME)) for _ in range(views)]
            page = browser.get(HOME).decode()
            parts = re.findall(r'(?:src|href)="([^"]*/static/[^"]*)"', page)
            travelled = sum(map(browser.packed_bytes, [HOME, *parts]))
            browser.close()
    stack.drop(DATABASE)
    usual = median(others)
    return [
        Line(
            "first view of a gateway just started",
            milliseconds(first),
            f"every later one {milliseconds(usual)}",
            bar=f"≤ {milliseconds(BAR_SECONDS)}",
            is_met=first <= BAR_SECONDS,
        ),
        Line(
            "first view, all that travels",
            f"{travelled / 1_000:.0f} kB",
            bar=f"≤ {BAR_BYTES // 1_000} kB",
            is_met=travelled <= BAR_BYTES,
        ),
    ]
