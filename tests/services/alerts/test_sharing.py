"""Alerts that share a series are read together; what does not fit into a lease is given back."""

from collections.abc import Callable

import pytest

from services.alerts import worker
from tests.clock import Clock
from tests.services.alerts.asking import condition, create
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.alerts.scripted_source import Script


def test_calls_are_as_large_as_they_may_be(
    service: Service, clock: Clock, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "SERIES_A_CALL", 2)
    monkeypatch.setattr(worker, "ALERTS_A_CALL", 3)
    zones = ("UTC", "Asia/Kolkata", "UTC", "Europe/Berlin", "UTC", "Asia/Kolkata", "UTC")
    for number, zone in enumerate(zones):
        create(service, f"errors-{number}", time_zone=zone)
    script.queries.clear()
    script.otherwise = 9.0
    assert service.look() == 7
    assert {condition(service, f"errors-{number}") for number in range(7)} == {"FIRING"}
    # UTC's four take two calls; Kolkata's two do not fit beside the second of them and Berlin's one.
    read = sorted(each.time_zone for each in script.queries)
    assert read == ["Asia/Kolkata", "Europe/Berlin", "UTC", "UTC"]


def test_what_no_time_is_left_for_is_another_ones_to_take(
    start_service: Callable[..., Service], clock: Clock, script: Script
) -> None:
    slow, other = start_service(), start_service()
    create(slow)
    clock.micros = START + HOUR
    [judging] = [each for each in slow.application.workers if each.source is not None]
    seconds = iter([0.0, 46.0])
    object.__setattr__(judging, "monotonic", lambda: next(seconds))
    assert judging.step() == 0
    assert other.look() == 1
