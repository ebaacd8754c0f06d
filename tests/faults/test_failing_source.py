"""Row 12: a service whose metrics are watched is killed, stands still, or has no rows."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import time

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.common.v1 import common_pb2
from brain.events.v1.events_pb2 import Event, TrackEventsRequest
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from shared.timestamps import from_micros
from tests.faults.alerts_processes import HOUR_SECONDS, SECOND, Asked, asked, last_hour, replica
from tests.faults.conftest import Database, database_of
from tests.faults.servers import Server, running, within
from tests.services.alerts.asking import condition, create, get, history, kinds, reasons, webhook
from tests.services.alerts.receivers import Receiver

pytestmark = pytest.mark.faults

watched = database_of("events", "alerts")

# The second of the two hours that are watched ends so long after the first was judged.
BETWEEN_SECONDS = 12
POLL_SECONDS = 2
LOOKS_IN_VAIN = 2  # the third comes 20 s later
LOOK_SECONDS = 60.0
ERROR, NO_DATA, HEALTHY = (
    alert_pb2.HEALTH_STATE_ERROR,
    alert_pb2.HEALTH_STATE_NO_DATA,
    alert_pb2.HEALTH_STATE_OK,
)


@pytest.fixture
def watcher(watched: Database, tmp_path: Path) -> Iterator[Callable[..., Asked]]:
    """(sources by name): starts the alerts service and returns what asks it."""
    with ExitStack() as stack:

        def begin(**sources: Server) -> Asked:
            addresses = {name: each.address for name, each in sources.items()}
            made = replica(watched, tmp_path, addresses, POLL_SECONDS=str(POLL_SECONDS))
            return stack.enter_context(asked(stack.enter_context(running(made))))

        yield begin


def sell(server: Server, hour: int, value: float) -> None:
    """Track a sale in the middle of an hour."""
    sale = Event(
        event_id=f"{hour}",
        user_id="ann",
        session_id="s",
        event="sold",
        category="revenue",
        event_time=from_micros((hour + HOUR_SECONDS // 2) * SECOND),
        value=value,
    )
    with server.channel() as channel:
        reply = EventsServiceStub(channel).TrackEvents(TrackEventsRequest(events=[sale]))
    assert reply.accepted == 1


LABELS = {"event_value": {"event": "sold"}, "aov": {}}


def watch(service: Asked, source: str, metric: str, receiver: Receiver, grace_seconds: int) -> None:
    """Create an alert, named as the source, on hours in which the metric is above 2."""
    create(
        service,
        source,
        metric=definition_pb2.MetricReference(
            source=source, name=metric, labels=LABELS[metric], interval=common_pb2.INTERVAL_HOUR
        ),
        grace_seconds=grace_seconds,
        channels=[webhook(f"{receiver.url}/{source}")],
    )


def told(receiver: Receiver, source: str) -> list[str]:
    """What arrived about a source: firing, resolved, or what is wrong with it."""
    return [
        each.json["commonLabels"].get("notice", each.json["status"])
        for each in receiver.received
        if each.path == f"/{source}"
    ]


def wait_for_looks(service: Asked, count: int) -> None:
    """Wait until so many looks of the alert on events are in the history."""
    assert within(LOOK_SECONDS, lambda: len(history(service, "events")) == count)


def failed_looks(database: Database) -> int:
    """How many looks in a row every alert has failed."""
    with database.connect("alerts") as connection:
        [count] = connection.execute("SELECT min(attempts) FROM alert_states").fetchone() or (0,)
    return int(count)


def let_an_hour_pass(database: Database) -> None:
    """Put back by an hour what alerts remember, which to them is the same."""
    hour = "interval '1 hour'"
    with database.connect("alerts") as connection:
        connection.execute(
            f"UPDATE alert_states SET judged_until_time = judged_until_time - {hour},"
            f" due_time = due_time - {hour}".encode()
        )


def test_a_source_that_is_killed_or_stands_still_ends_no_episode(
    watched: Database,
    start: Callable[..., Server],
    watcher: Callable[..., Asked],
    receiver: Receiver,
    tell: Callable[..., None],
) -> None:
    sources = {name: start("events", watched.url("events")) for name in ("killed", "suspended")}
    service, hour = watcher(**sources), last_hour()
    sell(sources["killed"], hour - 2 * HOUR_SECONDS, 9.0)
    close = int(time()) + BETWEEN_SECONDS
    for name in sources:
        watch(service, name, "event_value", receiver, close - hour)
    assert within(BETWEEN_SECONDS, lambda: all(told(receiver, name) == ["firing"] for name in sources))
    sources["killed"].kill()
    sources["suspended"].suspend()
    assert time() < close, "the hour that ends the episode was judged before"
    assert within(LOOK_SECONDS, lambda: failed_looks(watched) >= LOOKS_IN_VAIN)
    for name in sources:
        assert (condition(service, name), get(service, name).state.health) == ("FIRING", ERROR)
        assert kinds(service, name) == ["FIRE", "ERROR"]
    # It is not waited for until its connection is given up, which takes 17 s.
    assert "DEADLINE_EXCEEDED" in get(service, "suspended").state.latest.detail
    healed = time()
    sources["killed"].start()
    sources["suspended"].resume()
    assert within(LOOK_SECONDS, lambda: all(told(receiver, name)[2:] for name in sources))
    for name in sources:
        assert told(receiver, name) == ["firing", "error", "resolved"]
        assert reasons(service, name) == ["FIRED", "ERROR", "RESOLVED"]
        assert (condition(service, name), get(service, name).state.health) == ("OK", HEALTHY)
    tell(looks_in_vain=LOOKS_IN_VAIN, resolved_after=f"{time() - healed:.0f} s")


def test_a_source_without_rows_ends_no_episode(
    watched: Database, start: Callable[..., Server], watcher: Callable[..., Asked], receiver: Receiver
) -> None:
    events, hour = start("events", watched.url("events")), last_hour()
    service = watcher(events=events)
    sell(events, hour - 2 * HOUR_SECONDS, 9.0)
    watch(service, "events", "aov", receiver, int(time()) + BETWEEN_SECONDS - hour)
    wait_for_looks(service, 2)
    let_an_hour_pass(watched)
    wait_for_looks(service, 3)
    assert (condition(service, "events"), get(service, "events").state.health) == ("FIRING", NO_DATA)
    assert kinds(service) == ["FIRE", "NO_DATA"]
    sell(events, hour - HOUR_SECONDS, 1.0)
    let_an_hour_pass(watched)
    assert within(LOOK_SECONDS, lambda: len(told(receiver, "events")) == 3)
    assert told(receiver, "events") == ["firing", "no_data", "resolved"]
    assert reasons(service, "events") == ["FIRED", "NO_DATA", "NO_DATA", "RESOLVED"]
    assert (condition(service, "events"), get(service, "events").state.health) == ("OK", HEALTHY)
