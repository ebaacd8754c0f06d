"""Registered properties: the same answers as before, from roll-ups; whoever writes and folds beside."""

from collections.abc import Callable
from zoneinfo import ZoneInfo

import grpc
import psycopg
import pytest
import sqlalchemy
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1 import events_pb2 as pb
from brain.events.v1 import properties_pb2

from services.events import housekeeping
from services.events.rollups.cover import ReportingCalendar
from services.events.value_rollups import filling, value_keys
from services.events.value_rollups.filling import fill_one
from services.events.value_rollups.folding import fold_values, sweep
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.property_events import sent_events
from tests.services.events.registering import (
    FILLING,
    READY,
    TOO_MANY,
    answers,
    fill,
    fold,
    is_served,
    listed,
    mismatches,
    register,
    send,
    unregister,
)


@pytest.fixture(params=["Asia/Kolkata", pytest.param("Europe/London", marks=pytest.mark.slow)])
def zoned(by_hand: None, start_service: Callable[..., Service], request: pytest.FixtureRequest) -> Service:
    return start_service(reporting_time_zone=ZoneInfo(request.param))


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
        ("test", "UnregisterProperty", "address.city"),
        ("test", "RegisterProperty", "address.city"),
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
