"""One service for all poison, which no poison may harm."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from brain.events.v1 import events_pb2 as pb

from deploy.postgres import EmbeddedPostgres
from tests import databases
from tests.clock import Clock
from tests.services.events.conftest import Service, running

HARMLESS = pb.Event(user_id="ann", session_id="s", event="stays", event_id="stays")
HARMLESS.event_time.FromSeconds(1_320_000_000)


@pytest.fixture(scope="session")
def poisoned(
    postgres: EmbeddedPostgres, events_template: str, token_keys: tuple[bytes, bytes], scratch_directory: Path
) -> Iterator[Service]:
    key_file = scratch_directory / "poison.pem"
    key_file.write_bytes(token_keys[1])
    with databases.clone(postgres, events_template) as name:
        url = postgres.url(name, "events")
        with running(url, Clock(), token_keys[0], key_file) as service:
            service.events.TrackEvent(pb.TrackEventRequest(event=HARMLESS))
            yield service


def stored(service: Service) -> list[pb.Event]:
    """List what is stored beside the harmless event."""
    answer = service.events.QueryEvents(pb.QueryEventsRequest(page_size=1_000))
    return [event for event in answer.events if event.event_id != HARMLESS.event_id]


@pytest.fixture
def service(poisoned: Service, caplog: pytest.LogCaptureFixture) -> Iterator[Service]:
    """The service; afterwards it serves, stores nothing it was not given, and has logged no error."""
    yield poisoned
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    answer = poisoned.events.QueryEvents(pb.QueryEventsRequest(user_id="ann"))
    assert [event.event_id for event in answer.events] == [HARMLESS.event_id]
    with poisoned.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE event_id_text IS DISTINCT FROM 'stays'")
