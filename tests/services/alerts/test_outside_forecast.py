"""Events, forecasting and alerts together: an hour that the hours before did not lead to expect."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brain.alerts.v1 import definition_pb2
from brain.events.v1 import events_pb2

from deploy.postgres import EmbeddedPostgres
from shared.timestamps import from_micros
from tests import databases
from tests.clock import Clock
from tests.services.alerts.asking import condition, create, history
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.events.conftest import Service as EventsService
from tests.services.forecasting.conftest import running as running_forecasting

HOURS = 8 * 7 * 24


@pytest.fixture
def forecasting_database(
    postgres: EmbeddedPostgres, template_database: Callable[[str], str]
) -> Iterator[str]:
    with databases.clone(postgres, template_database("forecasting")) as name:
        yield postgres.url(name, "forecasting")


@pytest.fixture
def metric_sources(
    events: EventsService,
    forecasting_database: str,
    clock: Clock,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
    analyst_file: Path,
) -> Iterator[dict[str, str]]:
    sources = {"events": f"127.0.0.1:{events.application.server.port}"}
    settings = {"metric_sources": sources, "sources_token_file": analyst_file}
    replica = running_forecasting(forecasting_database, clock, token_keys[0], public_key_file, **settings)
    with replica as forecasting:
        yield sources | {"forecasting": f"127.0.0.1:{forecasting.application.server.port}"}


def test_an_hour_that_nobody_expected_fires_and_an_ordinary_one_does_not(
    events: EventsService, service: Service, clock: Clock
) -> None:
    counts = [6 + hour % 24 % 5 for hour in range(HOURS)] + [7, 60]
    made = [
        events_pb2.Event(
            event_id=f"{hour}-{number}",
            user_id="ann",
            session_id="s",
            event="error",
            event_time=from_micros(START + (hour - HOURS) * HOUR + number),
        )
        for hour, count in enumerate(counts)
        for number in range(count)
    ]
    clock.micros = START + 2 * HOUR
    for first in range(0, len(made), 5_000):
        request = events_pb2.TrackEventsRequest(events=made[first : first + 5_000])
        assert not events.events.TrackEvents(request).rejections
    clock.micros = START + HOUR
    outside = definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST
    create(service, condition=outside, threshold=5.0)
    service.look()
    assert condition(service) == "OK"
    clock.micros = START + 2 * HOUR
    service.look()
    assert condition(service) == "FIRING", history(service)
    ordinary, unexpected = (each.compared for each in history(service))
    assert abs(ordinary) < 5 < unexpected
