"""What is held of people goes out and away: results are those without them, or those of unknown people."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1 import events_pb2
from brain.experiments.v1 import experiments_pb2 as pb
from brain.privacy.v1 import privacy_pb2

from shared.people import UserDictionary
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.identity.searching import found
from tests.services.experiments.asking import (
    REVENUE,
    assign,
    convert,
    create,
    definition,
    person,
    results,
    start,
)
from tests.services.experiments.conftest import Service
from tests.shared.sample_service import eventually

ERASE, ANONYMIZE = privacy_pb2.ERASURE_MODE_ERASE, privacy_pb2.ERASURE_MODE_ANONYMIZE
USER, SESSION = events_pb2.USER_KIND_USER, events_pb2.USER_KIND_SESSION
SECRETS = [b"ann@", b"order-ann"]


@pytest.fixture
def reader(experiments_database: str) -> Iterator["psycopg.Connection[Any]"]:
    with psycopg.connect(experiments_database, autocommit=True) as connection:
        yield connection


def erase(
    service: Service,
    name: str = "ann@example.org",
    mode: "privacy_pb2.ErasureMode.ValueType" = ERASE,
    kind: "events_pb2.UserKind.ValueType" = USER,
) -> dict[str, int]:
    request = privacy_pb2.EraseUserRequest(user=events_pb2.UserReference(kind=kind, id=name), mode=mode)
    return {each.table: each.rows for each in service.privacy.EraseUser(request).touched_tables}


def exported(service: Service, name: str = "ann@example.org") -> list[dict[str, object]]:
    request = privacy_pb2.ExportUserRequest(user=events_pb2.UserReference(kind=USER, id=name))
    return [json.loads(line) for reply in service.privacy.ExportUser(request) for line in reply.json_lines]


def a_life(service: Service) -> None:
    """Let ann and bob take part and buy; ann has an override elsewhere."""
    create(service, what=definition(metrics=[REVENUE], break_down_attributes=["plan"]))
    start(service)
    create(service, "other")
    for name in ("ann@example.org", "bob"):
        assign(service, name, plan="pro")
        for number in range(2):
            convert(service, f"order-{name}-{number}", name, value=10 + number)
    request = pb.SetOverrideRequest(experiment_key="other", person=person("ann@example.org"), variant="b")
    service.experiments.SetOverride(request)


def counted(service: Service) -> tuple[int, float]:
    [metric] = results(service).metrics
    return sum(each.participants for each in metric.variants), sum(
        each.total_value for each in metric.variants
    )


def stored_of_ids(reader: "psycopg.Connection[Any]") -> set[bytes]:
    rows = reader.execute("SELECT who_hash, who_encrypted FROM users").fetchall()
    return {bytes(each) for row in rows for each in row}


def test_all_that_is_held_is_exported(service: Service) -> None:
    a_life(service)
    lines = exported(service)
    assert [line["table"] for line in lines] == [
        "users", "assignments", "assignment_attributes", "overrides", "conversions", "conversions",
    ]  # fmt: skip
    user, assignment, known, override, *conversions = lines
    assert (known["attribute"], known["value"]) == ("plan", "pro")
    assert (user["kind"], user["id"]) == ("user", "ann@example.org")
    assert assignment["variant"] == assign(service, "ann@example.org").variant
    assert assignment["experiment"] == "colour"
    assert (override["experiment"], override["variant"]) == ("other", "b")
    assert [(each["metric"], each["value"]) for each in conversions] == [("revenue", 10.0), ("revenue", 11.0)]
    assert exported(service, "nobody") == []


def test_erasing_takes_a_person_out_of_everything(
    service: Service, reader: "psycopg.Connection[Any]"
) -> None:
    a_life(service)
    assert counted(service) == (2, 42)
    assert erase(service) == {
        "conversions": 2,
        "assignment_attributes": 1,
        "assignments": 1,
        "overrides": 1,
        "users": 1,
        "tombstones": 1,
    }
    assert counted(service) == (1, 21)
    assert found(reader, SECRETS) == []
    assert [line["table"] for line in exported(service)] == ["tombstones"]
    audited = service.audit.ListAuditEntries(ListAuditEntriesRequest()).entries[0]
    assert (audited.action, audited.subject) == ("erase user", "a person")


def test_anonymising_leaves_numbers_and_nobody(service: Service, reader: "psycopg.Connection[Any]") -> None:
    a_life(service)
    before = results(service)
    reader.execute("INSERT INTO event_identities SELECT user_key, 6 + user_key FROM users")
    secrets = [
        bytes(each) for row in reader.execute("SELECT who_hash, who_encrypted FROM users") for each in row
    ]
    assert erase(service, mode=ANONYMIZE)["conversions"] == 2
    after = results(service)
    after.read_time.CopyFrom(before.read_time)
    assert after == before
    assert found(reader, SECRETS) == []
    assert reader.execute("SELECT FROM event_identities").rowcount == 1  # bob's
    left = [
        bytes(each) for row in reader.execute("SELECT who_hash, who_encrypted FROM users") for each in row
    ]
    assert len(set(left) & set(secrets)) == 2  # bob's


def test_late_retries_do_not_bring_anybody_back(service: Service, clock: Clock) -> None:
    a_life(service)
    late = clock.micros
    clock.micros += 1_000_000
    erase(service)

    def retry() -> str:
        again = pb.Conversion(value=10)
        again.conversion_time.FromMicroseconds(late)
        return refusal(
            lambda: convert(service, "order-ann@example.org-0", "ann@example.org", value=10,
                            conversion_time=again.conversion_time)
        ).reason  # fmt: skip

    assert retry() == "NOT_ASSIGNED"
    assign(service, "ann@example.org")  # a new person from here on
    assert retry() == "BEFORE_ASSIGNMENT"
    assert counted(service) == (2, 21)


@pytest.mark.parametrize("mode", [ERASE, ANONYMIZE])
def test_somebody_never_seen_leaves_a_tombstone_alone(
    mode: "privacy_pb2.ErasureMode.ValueType", service: Service
) -> None:
    tables = ("conversions", "assignment_attributes", "assignments", "overrides", "users")
    nothing = dict.fromkeys(tables, 0)
    assert erase(service, mode=mode) == {**nothing, "tombstones": 1}
    assert erase(service, "s-1", mode, SESSION) == {**nothing, "tombstones": 0}
    bad = privacy_pb2.EraseUserRequest(user=events_pb2.UserReference(id="x\0"))
    fields = refusal(lambda: service.privacy.EraseUser(bad)).fields
    assert fields.keys() == {"user.id", "user.kind", "mode"}


def test_what_a_replica_remembers_goes_too(start_service: Callable[..., Service]) -> None:
    one, other = start_service(), start_service()
    a_life(one)
    first = assign(other, "ann@example.org").assigned_time
    erase(one)
    assert eventually(lambda: not exported(other)[1:])
    assert assign(other, "ann@example.org").assigned_time == first  # the clock stands still
    assert [line["table"] for line in exported(one)] == ["tombstones", "users", "assignments"]


def waits(reader: "psycopg.Connection[Any]") -> bool:
    """Whether somebody waits for a row."""
    return reader.execute("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'").rowcount == 1


def test_erasing_waits_for_those_who_write_and_takes_what_they_wrote(
    service: Service, reader: "psycopg.Connection[Any]", experiments_database: str
) -> None:
    a_life(service)
    with psycopg.connect(experiments_database) as writer, ThreadPoolExecutor(1) as background:
        [key] = writer.execute("SELECT user_key FROM overrides FOR KEY SHARE").fetchone() or (0,)
        writer.execute("SELECT FROM users WHERE user_key = %s FOR KEY SHARE", [key])
        erasing = background.submit(erase, service)
        assert eventually(lambda: waits(reader))
        statement = "INSERT INTO conversions SELECT 1, %s, 'revenue', now(), 5, 'order-ann-in-flight'"
        writer.execute(statement, [key])
        writer.commit()
        assert erasing.result(20)["conversions"] == 3
    assert found(reader, SECRETS) == []


def test_who_writes_waits_for_erasing_and_then_finds_nobody(
    service: Service, reader: "psycopg.Connection[Any]", experiments_database: str
) -> None:
    a_life(service)
    with psycopg.connect(experiments_database) as eraser, ThreadPoolExecutor(1) as background:
        eraser.execute("CREATE TEMP TABLE gone AS SELECT user_key FROM overrides")
        eraser.execute("DELETE FROM overrides")
        eraser.execute("DELETE FROM users WHERE user_key IN (SELECT user_key FROM gone)")
        tracking = background.submit(refusal, lambda: convert(service, "late", "ann@example.org", value=1))
        assert eventually(lambda: waits(reader))
        eraser.commit()
        assert tracking.result(20).reason == "NOT_ASSIGNED"
    assert reader.execute("SELECT FROM conversions WHERE conversion_id = 'c-late'").rowcount == 0


def test_who_is_erased_while_assigned_is_asked_about_again(
    service: Service, reader: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    create(service)
    start(service)
    # As where the key was found a moment before it was erased.
    monkeypatch.setattr(UserDictionary, "keys", lambda _users, people: dict.fromkeys(people, 4_711))
    refused = refusal(lambda: assign(service, "ann@example.org"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.ABORTED, "ERASED_MEANWHILE")
    assert reader.execute("SELECT FROM assignments").rowcount == 0


def test_a_restored_database_is_told_by_tombstones(
    service: Service, reader: "psycopg.Connection[Any]"
) -> None:
    for name in ("ann@example.org", "bob", "cat"):
        erase(service, name)
    listed: list[privacy_pb2.Tombstone] = []
    token = ""
    while token or not listed:
        page = service.privacy.ListTombstones(
            privacy_pb2.ListTombstonesRequest(page_size=2, page_token=token)
        )
        listed += page.tombstones
        token = page.next_page_token
        if not token:
            break
    assert len({each.who_digest for each in listed}) == 3
    reader.execute("TRUNCATE tombstones")  # as restored from before
    a_life(service)
    request = privacy_pb2.ApplyTombstonesRequest(tombstones=listed)
    reply = service.privacy.ApplyTombstones(request)
    assert (reply.applied, reply.erased_ids) == (3, 2)
    assert counted(service) == (0, 0)
    again = service.privacy.ApplyTombstones(request)
    assert (again.applied, again.erased_ids) == (0, 0)


def test_a_restored_database_is_told_by_the_journal(
    start_service: Callable[..., Service], reader: "psycopg.Connection[Any]", tmp_path: Path
) -> None:
    journal = tmp_path / "erasures"
    erase(start_service(erasure_journal=journal))
    reader.execute("TRUNCATE tombstones")
    restored = start_service()
    a_life(restored)
    assert counted(restored) == (2, 42)
    assert counted(start_service(erasure_journal=journal)) == (1, 21)
