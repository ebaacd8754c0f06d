"""`brain privacy` over two real services: what one knows of a person's ids, the other is asked about."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from brain.events.v1 import events_pb2
from brain.events.v1.identity_pb2 import LinkUserRequest
from brain.experiments.v1 import experiments_pb2 as pb
from click.testing import CliRunner, Result

from brain_client.cli import main
from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.events.conftest import Service as EventsService
from tests.services.events.conftest import running as running_events
from tests.services.experiments.asking import assign, create, results, start
from tests.services.experiments.conftest import Service

Run = Callable[..., Result]


@pytest.fixture
def run(
    service: Service,
    events_database: str,
    clock: Clock,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
) -> Iterator[Run]:
    token = mint_token(token_keys[0], "test", [Role.ADMIN], None, clock.micros / 1e6)
    with running_events(events_database, clock, token_keys[0], public_key_file) as events:
        addresses = [f"127.0.0.1:{each.application.server.port}" for each in (events, service)]
        lives_twice(events, service)

        def invoke(*arguments: str) -> Result:
            services = [part for address in addresses for part in ("--service", address)]
            return CliRunner().invoke(main, ["--token", token, "privacy", *arguments, *services])

        yield invoke


def lives_twice(events: EventsService, service: Service) -> None:
    """Let ann take part under two ids, which the events service knows to be one person."""
    create(service)
    start(service)
    assign(service, "ann")
    assign(service, "bob")
    device = pb.Person(anonymous_id="device")
    service.experiments.AssignVariant(pb.AssignVariantRequest(experiment_key="colour", person=device))
    made = [
        events_pb2.Event(session_id="s", event="viewed", user_id="ann"),
        events_pb2.Event(session_id="s", event="viewed", anonymous_id="device"),
    ]
    assert events.events.TrackEvents(events_pb2.TrackEventsRequest(events=made)).accepted == 2
    events.events.LinkUser(LinkUserRequest(user_id="ann", anonymous_id="device"))


def tables(printed: Result) -> list[str]:
    assert printed.exit_code == 0, printed.output
    return [json.loads(line)["table"] for line in printed.output.splitlines()]


def test_a_person_is_exported_from_every_service_under_every_id(run: Run) -> None:
    found = tables(run("export", "ann"))
    assert found.count("assignments") == 2
    assert found.count("events") == 2


def test_a_person_is_erased_from_every_service_under_every_id(run: Run, service: Service) -> None:
    erased = run("erase", "ann", "--mode", "erase", "--yes")
    assert erased.exit_code == 0, erased.output
    of_events, of_experiments = (json.loads(line)["rows"] for line in erased.output.splitlines())
    assert (of_events["events"], of_events["users"]) == (2, 2)
    assert (of_experiments["assignments"], of_experiments["users"], of_experiments["tombstones"]) == (2, 2, 2)
    assert results(service).participants == 1
    assert set(tables(run("export", "ann"))) == {"tombstones"}
