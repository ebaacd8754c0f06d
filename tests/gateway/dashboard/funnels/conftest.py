"""A funnels service over a hundred visitors whose every step can be counted by hand."""

import csv
import html
import io
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb

from gateway.dashboard.page.frame import PREFIX
from shared.auth import Role
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW
from tests.gateway.dashboard.serving import Site, gateway
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events
from tests.services.funnels.asking import steps
from tests.services.funnels.conftest import Service, running

TAB = f"{PREFIX}/funnels"
STEPS = ("visited", "put in basket", "bought")


def made_history() -> Iterator[events_pb2.Event]:
    """A hundred visit yesterday. Of the free half 10 put something in and 5 buy, of the other 40 and 20."""
    for number in range(100):
        is_free = number % 2 == 0
        place = number // 2
        yield happened(number, "visited", 0, plan="free" if is_free else "pro")
        if place < (10 if is_free else 40):
            yield happened(number, "put in basket", 60)
        if place < (5 if is_free else 20):
            yield happened(number, "bought", 660)


def happened(number: int, name: str, second: int, **properties: str) -> events_pb2.Event:
    made = events_pb2.Event(event=name, event_id=f"{name}-{number}", user_id=f"u-{number}", session_id="s")
    moment = NOW.replace(minute=0, second=0) - timedelta(days=1) + timedelta(seconds=number + second)
    made.event_time.FromDatetime(moment.replace(tzinfo=None))
    made.properties.update(properties)
    return made


@pytest.fixture
def walked(events_database: str, token_keys: tuple[bytes, bytes], key_file: Path) -> Iterator[EventsService]:
    with running_events(events_database, Clock(), token_keys[0], key_file) as service:
        reply = service.events.TrackEvents(events_pb2.TrackEventsRequest(events=made_history()))
        assert not reply.rejections
        yield service


@pytest.fixture
def key_file(dashboard_key_file: Path) -> Path:
    return dashboard_key_file


@pytest.fixture
def funnels(
    funnels_database: str, walked: EventsService, token_keys: tuple[bytes, bytes], tmp_path: Path
) -> Iterator[Service]:
    now = Clock(int(NOW.timestamp() * 1e6))
    with running(funnels_database, walked, token_keys, tmp_path, clock=now) as service:
        yield service


@pytest.fixture
def site(
    walked: EventsService, funnels: Service, key_file: Path, token_for: Callable[..., str]
) -> Iterator[Site]:
    port = walked.application.server.port
    address = f"127.0.0.1:{funnels.application.server.port}"
    with gateway(port, key_file, NOW.timestamp, funnels_address=address, call_seconds=3) as origin:
        yield Site(origin, token_for(Role.ADMIN))


def make(service: Service, names: tuple[str, ...] = STEPS, **more: object) -> None:
    asked = pb.CreateFunnelRequest(funnel_id="checkout", name="Checkout", steps=steps(names))
    asked.MergeFrom(pb.CreateFunnelRequest(**more))  # type: ignore[arg-type]
    service.funnels.CreateFunnel(asked)


def rows(page: str, caption: str) -> list[list[str]]:
    """The cells of the table with this caption, without its headers, as they are read."""
    [table] = [each for each in page.split("<table")[1:] if f">{caption}" in each.partition("<thead>")[0]]
    body = table.partition("<tbody>")[2].partition("</tbody>")[0]
    return [
        [read(cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in body.split("<tr")[1:]
    ]


def read(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200
    return list(csv.DictReader(io.StringIO(answer.text.removeprefix("\ufeff"))))
