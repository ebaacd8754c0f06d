"""Events that moved: what counts as moving, over which days, and how it is said."""

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from math import inf
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from scipy import stats

from gateway.dashboard.overview import movers
from gateway.dashboard.page.frame import PREFIX
from gateway.dashboard.page.scope import Scope
from tests.clock import Clock
from tests.gateway.dashboard.conftest import NOW, event, minted
from tests.gateway.dashboard.serving import Site, gateway
from tests.gateway.dashboard.test_pages import text_of
from tests.services.events.conftest import running

FIRST = date(2025, 3, 3)


def shown(days: int) -> Scope:
    last = FIRST + timedelta(days=days - 1)
    now = datetime(last.year, last.month, last.day, 12, tzinfo=UTC) + timedelta(days=1)
    return Scope("custom", FIRST, last, ZoneInfo("UTC"), compare=False, now=now)


def answer(event: str, days: int, before: list[int], now: list[int]) -> pb.CountEventsResponse:
    counts = []
    for place, events in enumerate([*before, *now]):
        moment = Timestamp()
        moment.FromDatetime(datetime(2025, 3, 3) + timedelta(days=place - days))  # noqa: DTZ001 - it takes UTC
        counts.append(pb.EventCount(group=event, events=events, start_time=moment, complete=True))
    return pb.CountEventsResponse(counts=counts)


def test_means_are_apart_as_welchs_test_finds_them() -> None:
    made = random.Random(1)
    for _ in range(200):
        now = [made.randrange(60) for _ in range(made.randrange(7, 40))]
        before = [made.randrange(90) for _ in now]
        t = stats.ttest_ind(now, before, equal_var=False).statistic
        assert movers.differ(now, before) == (abs(t) > 3)


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        ([10] * 7, [20] * 7, 1.0),
        ([20] * 7, [10] * 7, -0.5),
        ([0] * 7, [20] * 7, inf),
        ([20] * 7, [0] * 7, -1.0),
        # One wild day is no trend, equal numbers are none, and a handful is nothing.
        ([10] * 7, [10] * 6 + [500], None),
        ([10] * 7, [10] * 7, None),
        ([1] * 7, [7] * 7, None),
    ],
)
def test_what_moves(before: list[int], now: list[int], change: float | None) -> None:
    found = movers.movers(answer("e", 7, before, now), shown(7))
    assert [one.change_ratio for one in found] == ([] if change is None else [change])


def test_days_that_are_not_over_are_left_out_on_both_sides() -> None:
    made = answer("e", 8, [10] * 7 + [10_000], [20] * 7 + [0])
    made.counts[-1].complete = False
    (found,) = movers.movers(made, shown(8))
    assert (found.events, found.earlier, found.last) == (140, 70, FIRST + timedelta(days=6))


@pytest.mark.parametrize(("days", "asks"), [(6, False), (7, True), (100, True), (101, False)])
def test_only_ranges_that_can_tell_are_asked(days: int, *, asks: bool) -> None:
    asked = movers.request(shown(days))
    assert (asked is not None) == asks
    if asked is not None:
        start = asked.time_range.start_time.ToDatetime(UTC).date()
        assert start == FIRST - timedelta(days=days)


@pytest.fixture
def moving(
    events_database: str, dashboard_key_file: Path, token_keys: tuple[bytes, bytes]
) -> Iterator[httpx.Client]:
    """Twice as many visits in the last nine days, and sign-ups that began then."""
    made = [
        event("visited", day, number, user_id="a")
        for day in range(1, 30)
        for number in range(20 if day < 10 else 10)
    ]
    made += [event("signed_up", day, 50 + number, user_id="a") for day in range(1, 10) for number in range(6)]
    with running(events_database, Clock(), token_keys[0], dashboard_key_file) as service:
        assert not service.events.TrackEvents(pb.TrackEventsRequest(events=made)).rejections
        port = service.application.server.port
        with (
            gateway(port, dashboard_key_file, NOW.timestamp) as origin,
            Site(origin, minted(token_keys[0])).signed_in() as client,
        ):
            yield client


def test_events_that_moved_are_worth_a_look(moving: httpx.Client) -> None:
    page = moving.get(f"{PREFIX}/retention?range=custom&from=2011-11-02&to=2011-11-11").text
    said = text_of(page)
    new = "signed_up: 54 from 2 Nov to 10 Nov 2011, not once from 23 Oct to 31 Oct 2011."
    more = "visited: 180 from 2 Nov to 10 Nov 2011, 100 % more than from 23 Oct to 31 Oct 2011 (90)."
    assert new in said
    assert more in said
    assert said.index(new) < said.index(more)
    assert f'href="{PREFIX}/events?range=custom&amp;zone=UTC&amp;from=2011-11-02' in page
    assert "compare=1&amp;event=signed_up" in page
