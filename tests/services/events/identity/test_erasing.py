"""Erasure and anonymisation: nothing is left, counts are right, nobody comes back."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import psycopg
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1 import events_pb2 as pb
from brain.privacy.v1 import privacy_pb2

from services.events.rollups.compaction import compact
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import (
    counted,
    event,
    ids,
    key_of,
    link,
    listed,
    track,
    until_settled,
)
from tests.services.events.identity.searching import ciphertexts, found
from tests.services.events.recount import recount

ERASE, ANONYMIZE = privacy_pb2.ERASURE_MODE_ERASE, privacy_pb2.ERASURE_MODE_ANONYMIZE
USER, ANONYMOUS, SESSION = pb.USER_KIND_USER, pb.USER_KIND_ANONYMOUS, pb.USER_KIND_SESSION
HOUR = 3600
MICROS = 1_000_000


@pytest.fixture
def reader(events_database: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(events_database, autocommit=True) as connection:
        yield connection


def erase(
    service: Service,
    name: str,
    kind: "pb.UserKind.ValueType" = USER,
    mode: "privacy_pb2.ErasureMode.ValueType" = ERASE,
) -> dict[str, int]:
    request = privacy_pb2.EraseUserRequest(user=pb.UserReference(kind=kind, id=name), mode=mode)
    return {each.table: each.rows for each in service.privacy.EraseUser(request).touched_tables}


def exported(service: Service, name: str, kind: "pb.UserKind.ValueType" = USER) -> list[dict[str, object]]:
    request = privacy_pb2.ExportUserRequest(user=pb.UserReference(kind=kind, id=name))
    return [json.loads(line) for reply in service.privacy.ExportUser(request) for line in reply.json_lines]


def personal(name: str, *, after: int = 0, user: str = "", anonymous: str = "") -> pb.Event:
    """Return an event full of things that say who it was."""
    made = event(name, user=user, anonymous=anonymous, after=after)
    made.session_id, made.referrer, made.user_agent = "session-ann", "ref-ann", "agent-ann"
    made.properties_json = '{"plan": "pro"}'
    return made


def a_life(service: Service) -> list[bytes]:
    """Let ann live under two ids, beside bob; return everything that leads to ann."""
    track(service, personal("ann-1", anonymous="ann-device"), event("bob-1", user="bob"))
    track(service, personal("ann-2", user="ann@example.org", anonymous="ann-device", after=HOUR))
    until_settled(service)
    track(service, personal("ann-3", anonymous="ann-device", after=2 * HOUR), event("bob-2", user="bob"))
    with service.engine.connect() as connection:
        keys = list(connection.exec_driver_sql("SELECT user_key FROM users").scalars())
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        bob = key_of(service, USER, "bob")
        secrets = ciphertexts(driver, [key for key in keys if key != bob])
    assert len(secrets) == 4
    return [*secrets, b"ann@", b"ann-", b"-ann"]


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("fold", ["never", "before", "after", "both"])
def test_nothing_is_left_in_any_table(service: Service, reader: "psycopg.Connection[Any]", fold: str) -> None:
    secrets = a_life(service)
    assert len(found(reader, secrets)) > 3
    if fold in {"before", "both"}:
        compact(service.engine)
    receipt = erase(service, "ann@example.org")
    if fold in {"after", "both"}:
        compact(service.engine)
    assert receipt == {"events": 3, "users": 2, "merge_requests": 0, "tombstones": 2}
    assert found(reader, secrets) == []
    assert counted(service) == (2, 1)
    assert recount(reader, "UTC").mismatches == []


def test_no_backup_of_a_page_keeps_a_folded_set(service: Service, reader: "psycopg.Connection[Any]") -> None:
    """A slot that was the erased person's alone is gone with them."""
    track(service, event("a", user="ann", what="only-ann"))
    while compact(service.engine):
        pass
    erase(service, "ann")
    while compact(service.engine) or reader.execute("SELECT FROM event_deltas").fetchone():
        pass
    assert reader.execute("SELECT count(*) FROM event_hours").fetchone() == (0,)
    assert reader.execute("SELECT count(*) FROM event_days").fetchone() == (0,)


def test_a_merged_anonymous_id_stands_for_its_person(service: Service) -> None:
    a_life(service)
    assert erase(service, "ann-device", ANONYMOUS)["events"] == 3
    assert counted(service) == (2, 1)


@pytest.fixture
def idle(start_service: Callable[..., Service]) -> Service:
    """A replica that decides about no merge by itself."""
    service = start_service()
    service.application.housekeeper.stop()
    return service


@pytest.mark.parametrize(("name", "kind"), [("u", USER), ("d", ANONYMOUS), ("d-2", ANONYMOUS)])
def test_ids_that_came_with_theirs_go_with_a_person(
    idle: Service, reader: "psycopg.Connection[Any]", name: str, kind: "pb.UserKind.ValueType"
) -> None:
    track(idle, event("a", anonymous="d"), event("b", anonymous="d-2"), event("other", user="v"))
    track(idle, event("c", user="u", anonymous="d"), event("e", user="u", anonymous="d-2"))
    receipt = erase(idle, name, kind)  # nobody has merged them yet
    assert receipt == {"events": 4, "users": 3, "merge_requests": 0, "tombstones": 3}
    assert ids(listed(idle)) == ["other"]
    assert track(idle, event("f", anonymous="d"), event("g", user="u")).accepted == 0
    assert recount(reader, "UTC").mismatches == []


def test_an_anonymous_id_that_anothers_event_had_first_stays_with_them(
    idle: Service, reader: "psycopg.Connection[Any]"
) -> None:
    track(idle, event("a", anonymous="d"))
    track(idle, event("b", user="v", anonymous="d"))
    track(idle, event("c", user="u", anonymous="d"))
    assert erase(idle, "u")["events"] == 1
    assert ids(listed(idle, user_id="v")) == ["a", "b"]
    assert recount(reader, "UTC").mismatches == []


def test_session_only_actors_can_be_erased(service: Service) -> None:
    track(service, event("a"))
    assert erase(service, "s", SESSION)["events"] == 1
    assert listed(service) == []


@pytest.mark.parametrize("mode", [ERASE, ANONYMIZE])
def test_late_retries_are_refused_and_later_events_make_a_new_person(
    start_service: Callable[..., Service],
    clock: Clock,
    reader: "psycopg.Connection[Any]",
    mode: "privacy_pb2.ErasureMode.ValueType",
) -> None:
    first, second = start_service(), start_service()
    old = event("old", user="ann")
    new = event("new", user="ann")
    for replica in (first, second):  # caches are warm
        track(replica, old)
    key = key_of(first, USER, "ann")
    erase(first, "ann", mode=mode)
    left = 1 if mode == ANONYMIZE else 0
    for replica in (second, first):
        reply = track(replica, old, event("bob-1", user="bob"))
        assert [(each.index, each.field) for each in reply.rejections] == [(0, "user_id")]
        assert reply.rejections[0].reason.startswith("erased")
        assert reply.accepted + reply.duplicates == 1
    one = refusal(lambda: second.events.TrackEvent(pb.TrackEventRequest(event=old)))
    assert one.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(one.fields) == ["event.user_id"]
    assert found(reader, [b"ann"]) == []
    assert counted(second) == (1 + left, 1 + left)

    clock.micros += 10 * MICROS
    new.event_time.FromMicroseconds(clock.micros)
    reply = track(second, old, new)
    assert (reply.accepted, [each.index for each in reply.rejections]) == (1, [0])
    assert track(first, new, old).duplicates == 1
    assert key_of(first, USER, "ann") != key
    assert counted(first) == (2 + left, 2 + left)
    assert erase(first, "ann")["events"] == 1
    assert track(second, new).rejections
    assert counted(first) == (1 + left, 1 + left)
    assert recount(reader, "UTC").mismatches == []


def test_anothers_event_is_kept_without_the_erased_anonymous_id(service: Service) -> None:
    link(service, "ann", "device")
    erase(service, "ann")
    assert track(service, event("a", user="bob", anonymous="device")).accepted == 1
    [kept] = listed(service)
    assert (kept.user_id, kept.anonymous_id) == ("bob", "")


def test_somebody_never_seen_leaves_a_tombstone_alone(service: Service) -> None:
    receipt = erase(service, "nobody")
    assert receipt == {"events": 0, "users": 0, "merge_requests": 0, "tombstones": 1}
    assert track(service, event("a", user="nobody")).rejections
    assert len(service.privacy.ListTombstones(privacy_pb2.ListTombstonesRequest()).tombstones) == 1


def test_anonymised_events_count_and_lead_to_nobody(
    service: Service, reader: "psycopg.Connection[Any]"
) -> None:
    secrets = a_life(service)
    days_before = counted(service)
    receipt = erase(service, "ann@example.org", mode=ANONYMIZE)
    assert receipt["events"] == 3
    assert counted(service) == days_before == (5, 2)
    assert recount(reader, "UTC").mismatches == []
    assert found(reader, secrets) == []
    kept = [each for each in listed(service) if each.user_id != "bob"]
    assert len(kept) == 3
    [unknown] = {each.user_id for each in kept}
    assert unknown.startswith("anonymized-")
    assert len({each.session_id for each in kept}) == 1, "one session is still one"
    assert {each.properties_json for each in kept} == {'{"plan": "pro"}'}


def test_both_are_audited_without_a_name(service: Service) -> None:
    erase(service, "ann")
    erase(service, "bob", mode=ANONYMIZE)
    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries
    assert [(entry.action, dict(entry.details)) for entry in entries[:2]] == [
        ("EraseUser", {"ids": 0, "mode": "anonymize"}),
        ("EraseUser", {"ids": 0, "mode": "erase"}),
    ]
    assert "ann" not in str(entries).replace("a person", "")


def test_an_export_holds_every_id_and_event(service: Service) -> None:
    a_life(service)
    lines = exported(service, "ann-device", ANONYMOUS)
    tables = [line["table"] for line in lines]
    assert tables.count("events") == 3
    assert {line["id"] for line in lines if line["table"] == "users"} == {"ann@example.org", "ann-device"}
    first = next(line for line in lines if line["table"] == "events")
    assert (first["event_id"], first["properties"], first["session_id"]) == (
        "ann-1",
        {"plan": "pro"},
        "session-ann",
    )
    assert exported(service, "nobody") == []
    erase(service, "ann@example.org")
    assert [line["table"] for line in exported(service, "ann@example.org")] == ["tombstones"]


def test_an_export_has_more_than_one_page(service: Service) -> None:
    track(service, *[event(f"e-{number}", user="ann", after=number) for number in range(2_500)])
    events = [line for line in exported(service, "ann") if line["table"] == "events"]
    assert [each["event_id"] for each in events] == [f"e-{number}" for number in range(2_500)]


def test_bad_requests_name_every_field(service: Service) -> None:
    asked = refusal(lambda: service.privacy.EraseUser(privacy_pb2.EraseUserRequest()))
    assert set(asked.fields) == {"user.kind", "user.id", "mode"}
    asked = refusal(lambda: list(service.privacy.ExportUser(privacy_pb2.ExportUserRequest())))
    assert set(asked.fields) == {"user.kind", "user.id"}
    asked = refusal(
        lambda: service.privacy.ApplyTombstones(
            privacy_pb2.ApplyTombstonesRequest(tombstones=[privacy_pb2.Tombstone(who_digest=b"x")])
        )
    )
    assert set(asked.fields) == {
        "tombstones[0].who_digest",
        "tombstones[0].erased_time",
        "tombstones[0].mode",
    }
    page = privacy_pb2.ListTombstonesRequest(page_size=-1, page_token="x")
    asked = refusal(lambda: service.privacy.ListTombstones(page))
    assert set(asked.fields) == {"page_size", "page_token"}
