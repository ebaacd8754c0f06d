"""A gateway in a thread of its own, in front of a real events service."""

import asyncio
import base64
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from gateway import application
from gateway.config import GatewaySettings
from gateway.dashboard import tabs
from gateway.dashboard.page.frame import PREFIX
from gateway.dashboard.page.tab import Tab

if TYPE_CHECKING:
    from gateway.application import RunningGateway

SECRET = base64.b64encode(bytes(range(32, 64))).decode()


@dataclass(frozen=True)
class Site:
    """Where the dashboard is, and how to come in."""

    origin: str
    token: str

    @property
    def home(self) -> str:
        return f"{self.origin}{PREFIX}"

    def browser(self) -> httpx.Client:
        """A client that keeps cookies and follows nothing by itself."""
        return httpx.Client(base_url=self.origin, timeout=20)

    @contextmanager
    def signed_in(self) -> Iterator[httpx.Client]:
        with self.browser() as client:
            assert sign_in(client, self.token).status_code == 303
            yield client


def sign_in(client: httpx.Client, token: str, **fields: str) -> httpx.Response:
    """Fill the form in as a browser would; fields may be given otherwise."""
    proof = proof_of(client.get(f"{PREFIX}/sign-in").text)
    return client.post(f"{PREFIX}/sign-in", data={"token": token, "proof": proof, **fields})


def proof_of(page: str) -> str:
    """What the forms of a page carry."""
    return page.partition('name="proof" value="')[2].partition('"')[0]


@contextmanager
def gateway(
    events_port: int,
    public_key_file: Path,
    clock: Callable[[], float] = time.time,
    shown: tuple[Tab, ...] = tabs.TABS,
    **changes: object,
) -> Iterator[str]:
    """Serve until the block ends; yields the origin. Tabs and, by name, settings may be given."""
    settings = GatewaySettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "events_address": f"127.0.0.1:{events_port}",
            "token_public_key_file": public_key_file,
            "secret": SECRET,
            "drain_seconds": 1,
            **changes,
        }
    )
    started: Future[tuple[RunningGateway, asyncio.AbstractEventLoop]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(settings, clock, shown, started)))
    thread.start()
    running, loop = started.result(timeout=20)
    try:
        yield f"http://127.0.0.1:{running.port}"
    finally:
        asyncio.run_coroutine_threadsafe(running.stop(), loop)
        thread.join(timeout=20)
        assert not thread.is_alive()


async def _serve(
    settings: GatewaySettings,
    clock: Callable[[], float],
    shown: tuple[Tab, ...],
    started: "Future[tuple[RunningGateway, asyncio.AbstractEventLoop]]",
) -> None:
    try:
        running = await application.start(settings, clock, shown)
    except BaseException as error:
        started.set_exception(error)
        raise
    started.set_result((running, asyncio.get_running_loop()))
    await asyncio.wait([running.serving])
