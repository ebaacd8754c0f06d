"""Restored databases forget again whom they should."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from brain.privacy.v1 import privacy_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import counted, event, ids, listed, track
from tests.services.events.identity.searching import found
from tests.services.events.identity.test_erasing import (
    ANONYMIZE,
    ERASE,
    a_life,
    erase,
    personal,
    reader,
)

if TYPE_CHECKING:
    import psycopg

__all__ = ["reader"]  # a fixture


def tombstones(service: Service, size: int = 2) -> list[privacy_pb2.Tombstone]:
    listed: list[privacy_pb2.Tombstone] = []
    token = ""
    while token or not listed:
        page = service.privacy.ListTombstones(
            privacy_pb2.ListTombstonesRequest(page_size=size, page_token=token)
        )
        listed += page.tombstones
        token = page.next_page_token
        if not token:
            break
    return listed


@pytest.mark.parametrize("mode", [ERASE, ANONYMIZE])
def test_tombstones_erase_whom_a_restored_database_holds(
    service: Service,
    reader: "psycopg.Connection[Any]",
    mode: "privacy_pb2.ErasureMode.ValueType",
) -> None:
    secrets = a_life(service)
    for name in ("ann@example.org", "x", "y"):
        erase(service, name, mode=mode)
    kept = tombstones(service)
    assert [each.who_digest for each in kept] == sorted({each.who_digest for each in kept})
    assert len(kept) == 4
    # As a database restored from before the erasure would: everything is there again, the tombstones are not.
    service.application.housekeeper.stop()
    reader.execute("TRUNCATE events, users, tombstones, event_deltas, event_days, event_hours CASCADE")
    reader.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'brain-events' AND datname = current_database()"
    )
    track(service, personal("ann-1", anonymous="ann-device"), personal("ann-2", user="ann@example.org"))
    request = privacy_pb2.ApplyTombstonesRequest(tombstones=kept)
    reply = service.privacy.ApplyTombstones(request)
    assert (reply.applied, reply.erased_ids) == (4, 2)
    assert found(reader, secrets) == []
    assert counted(service)[0] == (0 if mode == ERASE else 2)
    reply = service.privacy.ApplyTombstones(request)
    assert (reply.applied, reply.erased_ids) == (0, 0)
    assert track(service, personal("ann-1", anonymous="ann-device")).rejections


@pytest.mark.parametrize("year", [1, 1970, 1999, 2012, 9999])
def test_a_tombstone_of_no_time_that_can_be_is_refused(service: Service, year: int) -> None:
    """The tests' clock stands in November 2011; one of a later year would refuse all till then."""
    erased = Timestamp()
    erased.FromDatetime(datetime(year, 1, 1, tzinfo=UTC))
    tombstone = privacy_pb2.Tombstone(who_digest=bytes(16), erased_time=erased, mode=ERASE)
    request = privacy_pb2.ApplyTombstonesRequest(tombstones=[tombstone])
    refused = refusal(lambda: service.privacy.ApplyTombstones(request))
    assert list(refused.fields) == ["tombstones[0].erased_time"]
    assert tombstones(service) == []


def test_the_journal_is_applied_at_the_start(
    start_service: Callable[..., Service], tmp_path: Path, reader: "psycopg.Connection[Any]"
) -> None:
    journal = tmp_path / "erasures.jsonl"
    service = start_service(erasure_journal=journal)
    track(service, event("a", user="ann"))
    erase(service, "ann")
    assert "ann" not in journal.read_text()
    service.application.stop()
    reader.execute("TRUNCATE tombstones")
    with journal.open("a") as torn:
        torn.write('{"who_digest": "00')
    other = start_service()
    track(other, event("a", user="ann"), event("b", user="bob"))
    assert counted(other) == (2, 2)
    other.application.stop()
    restored = start_service(erasure_journal=journal)
    assert ids(listed(restored)) == ["b"]
    erase(restored, "bob")
    assert len([line for line in journal.read_text().split("\n") if line.startswith("{")]) == 3
    restored.application.stop()
