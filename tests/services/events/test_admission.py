"""Refusing events while the disk is nearly full."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from brain.events.v1 import events_pb2 as pb
from google.rpc import error_details_pb2

from services.events.ingest import admission
from services.events.ingest.admission import DiskGuard
from shared.errors import ResourceExhausted
from tests.refusals import attempt
from tests.services.events.conftest import Service
from tests.services.events.made_events import made_event

ABSURD = 2**62  # more than any disk has


def test_a_disk_with_room_admits(tmp_path: Path) -> None:
    DiskGuard(tmp_path, 1).admit()


def test_a_disk_with_less_than_the_minimum_refuses_and_says_when_to_come_back(tmp_path: Path) -> None:
    with pytest.raises(ResourceExhausted, match="disk is nearly full") as refused:
        DiskGuard(tmp_path, ABSURD).admit()
    assert refused.value.reason == "DISK_FULL"
    [_, retry] = refused.value.details()
    assert retry == error_details_pb2.RetryInfo(retry_delay={"seconds": 10})


def test_a_disk_of_another_machine_is_not_looked_at() -> None:
    DiskGuard(None, ABSURD).admit()


def test_the_disk_is_looked_at_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(admission, "monotonic", lambda: now)
    disk = tmp_path / "disk"
    disk.symlink_to(tmp_path)
    guard = DiskGuard(disk, 1)
    guard.admit()
    disk.unlink()
    disk.symlink_to("/proc")  # a file system with nothing free, ever
    guard.admit()
    now += 1.01
    with pytest.raises(ResourceExhausted):
        guard.admit()
    disk.unlink()
    disk.symlink_to(tmp_path)
    with pytest.raises(ResourceExhausted):
        guard.admit()
    now += 1.01
    guard.admit()


def test_a_full_disk_refuses_events_and_answers_questions(
    start_service: Callable[..., Service], tmp_path: Path
) -> None:
    service = start_service(disk_path=tmp_path, minimum_free_bytes=ABSURD)
    one, batch = pb.TrackEventRequest(event=made_event(1)), pb.TrackEventsRequest(events=[made_event(1)])
    for call in (
        lambda: service.events.TrackEvent(one),
        lambda: service.events.TrackEvents(batch),
        lambda: list(
            service.events.TrackEventStream(iter([pb.TrackEventStreamRequest(events=batch.events)]))
        ),
    ):
        refusal = attempt(call)
        assert refusal is not None
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "DISK_FULL")
    assert list(service.events.QueryEvents(pb.QueryEventsRequest()).events) == []
