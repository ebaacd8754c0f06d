"""Saved dashboard states: saved by id, replaced by id, listed newest first, deleted once and for all."""

import json

import grpc
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.events.v1 import snapshots_pb2 as pb

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service

STATE = '{"tiles": [1, 2.50, "é"],  "range": "\\u0000"}'  # kept as it is: blanks, zeros, escapes


def save(service: Service, snapshot_id: str, name: str = "Sales", state: str = STATE) -> pb.Snapshot:
    request = pb.SaveSnapshotRequest(snapshot_id=snapshot_id, name=name, state_json=state)
    return service.events.SaveSnapshot(request).snapshot


def get(service: Service, snapshot_id: str) -> pb.Snapshot:
    return service.events.GetSnapshot(pb.GetSnapshotRequest(snapshot_id=snapshot_id)).snapshot


def test_a_state_comes_back_as_it_was_saved(service: Service, clock: Clock) -> None:
    saved = save(service, "main")

    assert not saved.HasField("state_json")
    found = get(service, "main")
    assert (found.snapshot_id, found.name, found.state_json, found.creator) == (
        "main",
        "Sales",
        STATE,
        "test",
    )
    assert found.created_time.ToMicroseconds() == found.updated_time.ToMicroseconds() == clock()


def test_saving_an_id_again_replaces_the_state_and_keeps_the_creation(service: Service, clock: Clock) -> None:
    created = clock()
    save(service, "main")
    clock.micros += 5_000_000
    save(service, "main", "Revenue", '{"tiles": []}')

    found = get(service, "main")
    assert (found.name, found.state_json) == ("Revenue", '{"tiles": []}')
    assert (found.created_time.ToMicroseconds(), found.updated_time.ToMicroseconds()) == (created, clock())


def test_the_server_makes_an_id_where_none_is_given(service: Service) -> None:
    first, second = save(service, ""), save(service, "")

    assert first.snapshot_id != second.snapshot_id
    assert get(service, first.snapshot_id).state_json == STATE


def test_pages_list_the_newest_first_and_equal_times_by_id(service: Service, clock: Clock) -> None:
    for names in ("ba", "dc", "e"):
        for name in names:
            save(service, name)
        clock.micros += 1
    save(service, "a")  # saved again, and no newer for it

    listed: list[str] = []
    request = pb.ListSnapshotsRequest(page_size=2)
    while True:
        page = service.events.ListSnapshots(request)
        assert not any(snapshot.HasField("state_json") for snapshot in page.snapshots)
        listed += [snapshot.snapshot_id for snapshot in page.snapshots]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert listed == ["e", "c", "d", "a", "b"]


def test_a_deleted_state_is_gone_and_may_be_deleted_again(service: Service) -> None:
    save(service, "main")
    request = pb.DeleteSnapshotRequest(snapshot_id="main")

    assert service.events.DeleteSnapshot(request).deleted
    assert not service.events.DeleteSnapshot(request).deleted
    unknown = refusal(lambda: get(service, "main"))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "SNAPSHOT_UNKNOWN")


def test_the_audit_log_tells_who_saved_and_deleted_what(service: Service) -> None:
    save(service, "main")
    for _ in range(2):
        service.events.DeleteSnapshot(pb.DeleteSnapshotRequest(snapshot_id="main"))

    entries = service.audit.ListAuditEntries(ListAuditEntriesRequest(page_size=2)).entries
    assert [(entry.actor, entry.action, entry.subject) for entry in entries] == [
        ("test", "DeleteSnapshot", "main"),
        ("test", "SaveSnapshot", "main"),
    ]
    assert dict(entries[1].details) == {"name": "Sales", "bytes": len(STATE.encode())}


@pytest.mark.parametrize("state", ["", "[]", "1", "{", "null", '{"a": 1} x', "[" * 5_000, '{"a": NaN}'])
def test_a_state_that_is_no_json_object_is_refused(service: Service, state: str) -> None:
    assert set(refusal(lambda: save(service, "main", state=state)).fields) == {"state_json"}


def test_a_state_of_256_kib_is_kept_and_a_byte_more_is_not(service: Service) -> None:
    largest = json.dumps({"a": "x" * (256 * 1024 - 9)})
    assert len(largest) == 256 * 1024

    save(service, "main", state=largest)

    assert get(service, "main").state_json == largest
    assert "262,144" in refusal(lambda: save(service, "main", state=largest + " ")).fields["state_json"]


def test_everything_wrong_with_a_snapshot_is_told_at_once(service: Service) -> None:
    refused = refusal(lambda: save(service, "x" * 201, "", "[]"))
    assert set(refused.fields) == {"snapshot_id", "name", "state_json"}
    forged = pb.ListSnapshotsRequest(page_size=-1, page_token="forged")
    assert set(refusal(lambda: service.events.ListSnapshots(forged)).fields) == {"page_size", "page_token"}
    assert set(refusal(lambda: get(service, "a\0b")).fields) == {"snapshot_id"}
