"""From a window that has just closed to the receiver, on the clock on the wall."""

import time

import pytest

from tests.clock import Clock
from tests.services.alerts.asking import create, webhook
from tests.services.alerts.conftest import HOUR, SECOND, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script
from tests.waiting import until

# Half a second of idling before an alert is looked at, half before its receiver is told. What may pass is an
# hour and a second; a machine that does much else takes some of the rest.
LONGEST_SECONDS = 5.0
ALERTS = 3


class WallClock(Clock):
    def __call__(self) -> int:
        return time.time_ns() // 1_000


@pytest.fixture
def clock() -> Clock:
    return WallClock(time.time_ns() // 1_000)


def test_a_closed_window_is_told_within_seconds(service: Service, script: Script, receiver: Receiver) -> None:
    now = time.time_ns() // 1_000
    closed = now // HOUR * HOUR
    script.values[closed - HOUR] = 9.0
    due: dict[str, float] = {}
    for number in range(ALERTS):
        grace = (now - closed) // SECOND + 2 + number
        due[f"/{number}"] = closed / SECOND + grace
        create(service, f"e-{number}", channels=[webhook(f"{receiver.url}/{number}")], grace_seconds=grace)
    service.application.work()
    until(lambda: len(receiver.received) == ALERTS)
    delays = [each.time - due[each.path] for each in receiver.received]
    assert all(0 <= delay <= LONGEST_SECONDS for delay in delays), delays
