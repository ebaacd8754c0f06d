"""Row 13: the clock of a running service is wrong by two hours, while Berlin puts its own forward or back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen
from zoneinfo import ZoneInfo

import pytest
from brain.alerts.v1.definition_pb2 import QuietHours
from brain.common.v1 import common_pb2
from prometheus_client.parser import text_string_to_metric_families

from shared.calendar import HOUR_MICROS, Interval, buckets
from tests.clock import BEFORE_CHANGES, Clock
from tests.faults.alerts_processes import SECOND, Asked, asked, replica
from tests.faults.conftest import Database
from tests.faults.moved_clock import MovedClock, find_library, remove_shared_memory
from tests.faults.servers import KEY, Server, running, within
from tests.services.alerts.asking import create, definition, history, spans, webhook
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script, scripted_source

if TYPE_CHECKING:
    import psycopg

pytestmark = pytest.mark.faults

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(start_minute=22 * 60, end_minute=7 * 60)
LOOK_SECONDS = 30.0
LAST_HOUR = 38
# By how many hours the clock is wrong, in hours after the start; the change is at the thirteenth.
HOURS_AHEAD = {11: 2, 12: 2, 14: -2, 15: -2}
# When the hour before 23:00 in Berlin is over, and when it is 07:00 there.
EVENINGS = {"forward": 10, "back": 9}
MORNINGS = {"forward": 17, "back": 18}
LAST_BREACH = 30
UNITS = {"hourly": Interval.HOUR, "quiet": Interval.HOUR, "daily": Interval.DAY}

_ROUND = "chore_success_timestamp_seconds"
_DUE = """
SELECT (SELECT count(*) FROM alert_states WHERE due_time <= to_timestamp(%(now)s))
     + (SELECT count(*) FROM outbox WHERE status = 1 AND due_time <= to_timestamp(%(now)s))
"""


@pytest.fixture(params=BEFORE_CHANGES)
def change(request: pytest.FixtureRequest) -> str:
    """Which way Berlin's clocks are put."""
    return str(request.param)


@pytest.fixture
def clock(change: str, tmp_path: Path) -> MovedClock:
    """The clock of the process: at noon of the day before."""
    library = find_library()
    if library is None:
        pytest.skip("a clock that is moved needs Debian's libfaketime: apt-get install libfaketime")
    moved = MovedClock(library, tmp_path / "clock")
    moved.put(BEFORE_CHANGES[change])
    return moved


@pytest.fixture
def script(change: str) -> Iterator[Script]:
    """Breaches from the evening on until the next afternoon; its own clock is right."""
    start = BEFORE_CHANGES[change]
    with scripted_source(Clock(start), KEY) as started:
        hours = range(EVENINGS[change] - 1, LAST_BREACH)
        started.values = {start + hour * HOUR_MICROS: 9.0 for hour in hours}
        yield started


@pytest.fixture
def server(alerts: Database, script: Script, clock: MovedClock, tmp_path: Path) -> Iterator[Server]:
    made = replica(alerts, tmp_path, {"events": script.address})
    made.environment = clock.environment
    with running(made) as started:
        yield started
    remove_shared_memory(started.pid)


@dataclass(frozen=True)
class Watched:
    """A service whose clock is moved, and what shows that it has done what there was to do."""

    start: int
    server: Server
    clock: MovedClock
    script: Script
    connection: "psycopg.Connection[Any]"

    def put(self, hours: float, ahead: float = 0.0) -> None:
        """Let it be so many hours after the start, show the service a later time, and see what it does."""
        right, shown = (self.start + round(each * HOUR_MICROS) for each in (hours, hours + ahead))
        is_later = shown > self.clock()
        self.script.clock.micros = right
        self.clock.put(shown)
        if not is_later:  # nothing is due: only a round of its own shows that the service has looked
            self.wait_for_a_round()
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is due that was not looked at, or told."""
        assert within(LOOK_SECONDS, lambda: not self._due())

    def wait_for_a_round(self) -> None:
        """Wait until it has looked for what is due, from the beginning, by the clock as it is now."""
        for _ in range(2):
            before = self._last_round()
            assert within(LOOK_SECONDS, lambda: self._last_round() != before)  # noqa: B023 - called at once
        assert abs(self._last_round() - self.clock() / SECOND) < LOOK_SECONDS, "its clock did not move"

    def _due(self) -> int:
        [count] = self.connection.execute(_DUE, {"now": self.clock() / SECOND}).fetchone() or (0,)
        return int(count)

    def _last_round(self) -> float:
        """When it last looked for what is due, by its clock, in Unix seconds."""
        with urlopen(f"http://{self.server.metrics_address}/metrics") as response:
            families = text_string_to_metric_families(response.read().decode())
        [seconds] = [
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == _ROUND and sample.labels["chore"] == "judging events"
        ]
        return float(seconds)


@pytest.fixture
def watched(
    change: str, alerts: Database, server: Server, clock: MovedClock, script: Script
) -> Iterator[Watched]:
    with alerts.connect("alerts") as connection:
        yield Watched(BEFORE_CHANGES[change], server, clock, script, connection)


def told(receiver: Receiver, alert_id: str) -> list[str]:
    return [each.json["status"] for each in receiver.received if each.path == f"/{alert_id}"]


def test_windows_are_judged_once_and_people_told_once_and_not_at_night(
    change: str, watched: Watched, receiver: Receiver, tell: Callable[..., None]
) -> None:
    evening, morning = EVENINGS[change], MORNINGS[change]
    with asked(watched.server) as service:
        create_alerts(service, receiver)
        watched.settle()
        for hour in range(1, LAST_HOUR + 1):
            if hour == morning:
                watched.put(hour - 1 / 60)
                watched.wait_for_a_round()
                assert not told(receiver, "quiet"), "a minute before 07:00 it is night"
            watched.put(hour, HOURS_AHEAD.get(hour, 0))
            assert bool(told(receiver, "hourly")) == (hour >= evening), hour
            assert bool(told(receiver, "quiet")) == (hour >= morning), hour
        skipped = {alert_id: check_windows(service, alert_id, watched.start) for alert_id in UNITS}
        lengths = [round((end - begin) / HOUR_MICROS) for begin, end in spans(service, "daily")]
    assert lengths.count({"forward": 23, "back": 25}[change]) == 1
    for alert_id in ("hourly", "quiet"):
        assert told(receiver, alert_id) == ["firing", "resolved"]
    tell(hours=LAST_HOUR, clock_moved=4, windows_skipped=skipped)


def create_alerts(service: Asked, receiver: Receiver) -> None:
    days = definition().metric
    days.interval = common_pb2.INTERVAL_DAY
    create(service, "daily", time_zone="Europe/Berlin", metric=days)
    for alert_id, quiet_hours in (("hourly", []), ("quiet", [NIGHT])):
        create(
            service,
            alert_id,
            time_zone="Europe/Berlin",
            quiet_hours=quiet_hours,
            channels=[webhook(f"{receiver.url}/{alert_id}")],
        )


def check_windows(service: Asked, alert_id: str, start: int) -> int:
    """Check that each window is accounted for, once; return how many were skipped.

    Those alone may be that ended while the service's clock was slow.
    """
    found = spans(service, alert_id)
    assert all(one[1] == other[0] for one, other in pairwise(found)), found
    now = start + LAST_HOUR * HOUR_MICROS
    closed = [each for each in buckets(found[0][0], now, UNITS[alert_id], BERLIN) if each[1] <= now]
    assert found[-1][1] == closed[-1][1]
    slow = [hour for hour, ahead in HOURS_AHEAD.items() if ahead < 0]
    begin, end = (start + hour * HOUR_MICROS for hour in (min(slow), max(slow) + 1))
    judged = {
        each.window.start_time.ToMicroseconds()
        for each in history(service, alert_id)
        if each.HasField("compared")
    }
    lost = [each for each in closed if each[0] not in judged]
    assert all(begin <= window[1] < end for window in lost), lost
    return len(lost)
