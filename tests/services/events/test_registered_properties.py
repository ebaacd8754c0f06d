"""Registered properties: the same answers as before, from roll-ups; whoever writes and folds beside."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

import grpc
import psycopg
import pytest
import sqlalchemy
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_HOUR, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1 import properties_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.events import housekeeping
from services.events.domain import Operator, Selection
from services.events.reading.by_property import BreakDown, PropertyCells
from services.events.reading.counting import GroupPage
from services.events.rollups.compaction import compact
from services.events.rollups.cover import ReportingCalendar
from services.events.value_rollups import filling, value_keys
from services.events.value_rollups.filling import fill_one
from services.events.value_rollups.folding import fold_values, sweep
from tests.services.events.conftest import Service
from tests.services.events.property_events import FIRST_SECOND, SECONDS, Sent, sent_events
from tests.services.events.refusals import refusal
from tests.services.events.test_property_questions import FILTERS, filter_of
from tests.services.events.value_recount import values_recounted

RANGE = TimeRange(
    start_time=Timestamp(seconds=FIRST_SECOND - 90_000),
    end_time=Timestamp(seconds=FIRST_SECOND + SECONDS + 90_000),
)
READY, FILLING = properties_pb2.PROPERTY_STATE_READY, properties_pb2.PROPERTY_STATE_FILLING
KOLKATA = ZoneInfo("Asia/Kolkata")
TOO_MANY = properties_pb2.PROPERTY_STATE_TOO_MANY_VALUES


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is folded, filled or swept until the test does it."""
    monkeypatch.setattr(housekeeping, "compact", lambda _engine: 0)
    monkeypatch.setattr(housekeeping, "fold_values", lambda _engine: 0)
    monkeypatch.setattr(housekeeping, "fill_one", lambda _engine, _calendar: False)
    monkeypatch.setattr(housekeeping, "sweep", lambda _engine: 0)


@pytest.fixture(params=["UTC", "Asia/Kolkata", "Europe/London"])
def zoned(by_hand: None, start_service: Callable[..., Service], request: pytest.FixtureRequest) -> Service:
    return start_service(reporting_time_zone=ZoneInfo(request.param))


def zone_of(service: Service) -> str:
    with service.engine.begin() as connection:
        found = connection.exec_driver_sql("SELECT reporting_time_zone FROM rollup_state").scalar_one()
    return str(found)


def register(service: Service, path: str, event: str = "") -> properties_pb2.RegisteredProperty:
    request = properties_pb2.RegisterPropertyRequest(property=path, event=event)
    return service.events.RegisterProperty(request).property


def unregister(service: Service, path: str, event: str = "") -> bool:
    request = properties_pb2.UnregisterPropertyRequest(property=path, event=event)
    return service.events.UnregisterProperty(request).unregistered


def listed(service: Service) -> dict[tuple[str, str], int]:
    found = service.events.ListProperties(properties_pb2.ListPropertiesRequest()).properties
    return {(each.property, each.event): each.state for each in found}


def fill(service: Service) -> None:
    while fill_one(service.engine, ReportingCalendar(ZoneInfo(zone_of(service)))):
        pass


def fold(service: Service) -> None:
    while compact(service.engine) + fold_values(service.engine):
        pass


def send(service: Service, sent: list[Sent]) -> None:
    batch = pb.TrackEventsRequest(events=[each.event for each in sent])
    assert service.events.TrackEvents(batch).accepted == len(sent)


def mismatches(service: Service, ready: int) -> list[str]:
    url = service.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        number, found = values_recounted(connection, zone_of(service))
    assert number == ready
    return found


def answers(service: Service) -> list[Any]:
    """What every question about properties answers, whatever answers it."""
    found: list[Any] = []
    for each in FILTERS:
        filters = [filter_of(*each)]
        count = pb.CountEventsRequest(time_range=RANGE, interval=INTERVAL_DAY, filters=filters)
        found.append(service.events.CountEvents(count))
    for zone in ("", "UTC", "Asia/Kolkata"):
        for events in ([], ["viewed"], ["viewed", "shared"]):
            for interval in (INTERVAL_DAY, INTERVAL_HOUR):
                count = pb.CountEventsRequest(
                    time_range=RANGE,
                    interval=interval,
                    time_zone=zone,
                    group_by=pb.COUNT_GROUP_PROPERTY,
                    group_property="plan",
                    events=events,
                    page_size=7,
                )
                found.append(service.events.CountEvents(count))
                count.page_token = found[-1].next_page_token
                found.append(service.events.CountEvents(count))
            active = pb.GetActiveUsersRequest(
                period=pb.ACTIVE_PERIOD_WEEK,
                time_range=RANGE,
                time_zone=zone,
                group_property="plan",
                events=events,
                filters=[filter_of("plan", Operator.EXISTS, ())],
            )
            found.append(service.events.GetActiveUsers(active))
    for by_type in (pb.COUNT_GROUP_EVENT, pb.COUNT_GROUP_CATEGORY):
        count = pb.CountEventsRequest(
            time_range=RANGE, group_by=by_type, filters=[filter_of("plan", Operator.EQUALS, ("gold",))]
        )
        found.append(service.events.CountEvents(count))
    return found


def is_served(service: Service, path: str = "plan", events: tuple[str, ...] | None = None) -> bool:
    calendar = ReportingCalendar(ZoneInfo(zone_of(service)))
    cells = PropertyCells(service.engine, calendar)
    bucket = (RANGE.start_time.ToMicroseconds(), RANGE.end_time.ToMicroseconds())
    asked = BreakDown(tuple(path.split(".")), GroupPage(10))
    return cells.served(asked, [bucket], Selection(events=events)) is not None


def test_answers_are_the_same_before_and_after_registering(zoned: Service) -> None:
    """History, then deltas, then both folded, then unregistered; a third of the events each time."""
    sent = sent_events(2, 600)
    send(zoned, sent[:200])
    before = answers(zoned)
    assert register(zoned, "plan").state == FILLING
    assert answers(zoned) == before
    fill(zoned)
    assert (listed(zoned), is_served(zoned)) == ({("plan", ""): READY}, True)
    assert mismatches(zoned, 1) == []
    assert answers(zoned) == before

    send(zoned, sent[200:400])
    with_deltas = answers(zoned)
    fold(zoned)
    assert answers(zoned) == with_deltas != before
    send(zoned, sent[400:])
    assert mismatches(zoned, 1) == []
    from_rollups = answers(zoned)
    assert unregister(zoned, "plan")
    assert not is_served(zoned)
    assert answers(zoned) == from_rollups


def test_a_property_of_one_event_serves_questions_about_it_alone(by_hand: None, service: Service) -> None:
    sent = sent_events(3, 300)
    send(service, sent[:150])
    register(service, "plan", "viewed")
    register(service, "address.city", "viewed")
    fill(service)
    send(service, sent[150:])

    assert is_served(service, "plan", ("viewed",))
    assert is_served(service, "address.city", ("viewed", "viewed"))
    assert not is_served(service, "plan", ("viewed", "shared"))
    assert not is_served(service, "plan")
    register(service, "plan", "shared")
    fill(service)
    assert is_served(service, "plan", ("viewed", "shared"))
    register(service, "plan")
    fill(service)
    assert is_served(service, "plan")
    assert mismatches(service, 4) == []
    from_rollups = answers(service)
    for path, event in (("plan", ""), ("plan", "viewed"), ("plan", "shared")):
        unregister(service, path, event)
    assert answers(service) == from_rollups


def test_steps_into_arrays_are_filled_and_followed(by_hand: None, service: Service) -> None:
    sent = sent_events(4, 300)
    send(service, sent[:150])
    for path in ("plan.1", "plan.a.1.c", "address.city.0", "nowhere.at.all"):
        register(service, path)
    fill(service)
    send(service, sent[150:])
    assert mismatches(service, 4) == []


def test_a_property_with_too_many_values_answers_from_raw_events(
    by_hand: None, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = sent_events(5, 300)
    send(service, sent[:20])
    register(service, "plan")
    fill(service)
    monkeypatch.setattr(value_keys, "MAXIMUM_VALUES", 15)
    send(service, sent[20:])  # brings more: given up by ingest
    assert (listed(service), is_served(service)) == ({("plan", ""): TOO_MANY}, False)
    found = answers(service)

    register(service, "plan")  # tries again, and is given up by the filler
    assert listed(service) == {("plan", ""): FILLING}
    fill(service)
    assert listed(service) == {("plan", ""): TOO_MANY}

    monkeypatch.undo()
    register(service, "plan")
    fill_one(service.engine, ReportingCalendar(ZoneInfo("UTC")))
    assert listed(service) == {("plan", ""): READY}
    assert answers(service) == found
    assert sweep(service.engine) >= 0
    assert mismatches(service, 1) == []


def test_a_value_too_long_for_the_dictionary_gives_the_property_up(by_hand: None, service: Service) -> None:
    register(service, "plan")
    fill(service)
    event = pb.Event(session_id="s", event="viewed", properties_json='{"plan": "' + "x" * 5_000 + '"}')
    service.events.TrackEvents(pb.TrackEventsRequest(events=[event]))
    assert listed(service) == {("plan", ""): TOO_MANY}


def test_what_was_unregistered_leaves_nothing_behind(by_hand: None, service: Service) -> None:
    sent = sent_events(6, 200)
    send(service, sent[:100])
    register(service, "plan")
    register(service, "address.city")
    fill(service)
    fold_values(service.engine)
    send(service, sent[100:])
    unregister(service, "plan")
    assert sweep(service.engine) > 0
    while fold_values(service.engine):  # deltas of ended generations are dropped
        pass
    with service.engine.begin() as connection:
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM value_days WHERE value_key NOT IN (SELECT value_key FROM property_values)"
        ).scalar_one()
    assert (left, sweep(service.engine)) == (0, 0)
    assert mismatches(service, 1) == []


def test_a_filler_that_died_is_followed_by_another(
    by_hand: None, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = sent_events(7, 200)
    send(service, sent[:100])
    register(service, "plan")
    with monkeypatch.context() as patched:
        patched.setattr(filling, "_DONE", "SELECT 1 / 0")
        with pytest.raises(psycopg.errors.DivisionByZero):
            fill(service)
    assert listed(service) == {("plan", ""): FILLING}
    send(service, sent[100:])
    fill(service)
    assert (listed(service), mismatches(service, 1)) == ({("plan", ""): READY}, [])


def test_two_fill_at_once_and_one_does(by_hand: None, service: Service) -> None:
    send(service, sent_events(8, 200))
    for path in ("plan", "address", "address.city", "plan.a"):
        register(service, path)
    calendar = ReportingCalendar(ZoneInfo("UTC"))
    with ThreadPoolExecutor(2) as pool:
        for _ in range(20):
            list(pool.map(lambda _: fill_one(service.engine, calendar), range(2)))
    assert set(listed(service).values()) == {READY}
    assert mismatches(service, 4) == []


@dataclass
class Turmoil:
    """Two replicas with warm caches: who writes, who folds, and who registers, fills, and gives up."""

    replicas: list[Service]
    sent: list[Sent]
    seed: int
    stopping: threading.Event = field(default_factory=threading.Event)

    def write(self, number: int) -> None:
        own, chance = self.sent[number::4], random.Random(number)
        while own:
            size = chance.randint(1, 12)
            batch, own = own[:size], own[size:]
            again = chance.sample(self.sent, 3)  # stored already, or stored again by others later
            events = [each.event for each in {id(each): each for each in (*batch, *again)}.values()]
            self.replicas[number % 2].events.TrackEvents(pb.TrackEventsRequest(events=events))

    def fold(self) -> None:
        while not self.stopping.is_set():
            fold_values(self.replicas[0].engine, 2_000)

    def manage(self) -> int:
        """Check after each change; return how many properties were found to be ready, all in all."""
        chance, calendar, ready = random.Random(self.seed), ReportingCalendar(KOLKATA), 0
        while not self.stopping.is_set():
            path, event = chance.choice(["plan", "address.city", "plan.1"]), chance.choice(["", "viewed"])
            if chance.random() < 0.6:
                register(self.replicas[1], path, event)
            else:
                unregister(self.replicas[0], path, event)
            fill_one(self.replicas[chance.randrange(2)].engine, calendar)
            if chance.random() < 0.3:
                sweep(self.replicas[0].engine)
            number, found = recounted(self.replicas[0], KOLKATA)
            assert found == []
            ready += number
        return ready


@pytest.mark.parametrize("seed", range(2))
def test_no_moment_of_registering_loses_or_doubles_an_event(
    by_hand: None, start_service: Callable[..., Service], seed: int
) -> None:
    replicas = [start_service(reporting_time_zone=KOLKATA, writers=3) for _ in range(2)]
    turmoil = Turmoil(replicas, sent_events(100 + seed, 1_000), seed)
    with ThreadPoolExecutor(6) as pool:
        folding, managing = pool.submit(turmoil.fold), pool.submit(turmoil.manage)
        try:
            list(pool.map(turmoil.write, range(4)))
        finally:
            turmoil.stopping.set()
        folding.result()
        assert managing.result() > 0
    for path in ("plan", "address.city"):
        register(replicas[0], path)
    fill(replicas[0])
    assert recounted(replicas[0], KOLKATA)[1] == []
    with replicas[0].engine.begin() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one()
    assert stored == len(turmoil.sent)


def recounted(service: Service, zone: ZoneInfo) -> tuple[int, list[str]]:
    url = service.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        return values_recounted(connection, zone.key)


@pytest.fixture
def recounter_sees(by_hand: None, service: Service) -> Service:
    send(service, sent_events(9, 100))
    register(service, "plan")
    fill(service)
    return service


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM value_deltas",
        "INSERT INTO value_deltas (first_hour, last_hour, payload) SELECT 0, 0, payload FROM value_deltas",
        "UPDATE events SET properties = NULL",
        "UPDATE property_values SET value_text = 'x' WHERE value_text = '\"gold\"'",
    ],
)
def test_the_checker_sees_what_is_lost_doubled_or_wrong(recounter_sees: Service, damage: str) -> None:
    assert mismatches(recounter_sees, 1) == []
    with recounter_sees.engine.begin() as connection:
        connection.execute(sqlalchemy.text(damage))
    assert mismatches(recounter_sees, 1) != []


def test_the_background_fills_by_itself(service: Service) -> None:
    """The chore, as it runs in production."""
    send(service, sent_events(10, 50))
    register(service, "plan")
    engine, calendar = service.engine, ReportingCalendar(ZoneInfo("UTC"))
    chore = housekeeping.registered_properties(engine, calendar)
    while listed(service) != {("plan", ""): READY}:
        chore.run()
    assert mismatches(service, 1) == []


def test_registering_is_idempotent_and_audited(by_hand: None, service: Service) -> None:
    first = register(service, "address.city", "viewed")
    assert (first.property, first.event, first.creator) == ("address.city", "viewed", "test")
    assert register(service, "address.city", "viewed") == first
    assert [unregister(service, "address.city", "viewed") for _ in range(2)] == [True, False]
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest(page_size=2)).entries
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("test", "unregister_property", "address.city"),
        ("test", "register_property", "address.city"),
    ]
    assert dict(entries[0].details) == {"event": "viewed"}


def test_there_are_at_most_twenty(by_hand: None, service: Service) -> None:
    for number in range(20):
        register(service, f"p{number:02}")
    refused = refusal(lambda: register(service, "one.more"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "TOO_MANY_PROPERTIES")
    request = properties_pb2.ListPropertiesRequest(page_size=8)
    found: list[str] = []
    while True:
        page = service.events.ListProperties(request)
        found += [each.property for each in page.properties]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert found == [f"p{number:02}" for number in range(20)]


def test_what_is_wrong_with_a_registration_is_told(service: Service) -> None:
    assert set(refusal(lambda: register(service, "", "x" * 201)).fields) == {"property", "event"}
    assert set(refusal(lambda: unregister(service, "a..b", "\0")).fields) == {"property", "event"}
    assert set(refusal(lambda: register(service, ".".join("abcdefghi"))).fields) == {"property"}
