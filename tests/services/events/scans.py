"""Scans and what they hold, for tests."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service

NAMES = ["viewed", "bought", "returned", "searched", "shared"]
SPAN = TimeRange(start_time=Timestamp(seconds=1_312_000_000), end_time=Timestamp(seconds=1_322_000_000))
DAY_SECONDS = 86_400
SOME_DAY = 15_200  # 2011-08-14

Chunk = tuple[str, int]


def track(service: Service, events: Iterable[pb.Event]) -> None:
    reply = service.events.TrackEvents(pb.TrackEventsRequest(events=events))
    assert not reply.rejections


def scan(service: Service, **changes: object) -> list[pb.ScanEventsResponse]:
    request = {"events": NAMES, "time_range": SPAN, **changes}
    return list(service.events.ScanEvents(pb.ScanEventsRequest(**request)))  # type: ignore[arg-type]


def revisions(service: Service) -> dict[Chunk, int]:
    return {(each.event, each.day): each.revision for each in scan(service)}


def known(held: dict[Chunk, int]) -> list[pb.KnownChunk]:
    return [pb.KnownChunk(event=event, day=day, revision=held[event, day]) for event, day in held]


def rows(messages: Iterable[pb.ScanEventsResponse]) -> dict[Chunk, list[tuple[int, int]]]:
    """Return (user key, time) pairs by chunk, parts put together."""
    found: dict[Chunk, list[tuple[int, int]]] = defaultdict(list)
    for message in messages:
        keys = np.frombuffer(message.user_keys, "<i4").tolist()
        times = np.frombuffer(message.event_times, "<i8").tolist()
        assert len(keys) == len(times) == message.row_count
        found[message.event, message.day] += zip(keys, times, strict=True)
    return dict(found)


def on_day(number: int, day: int = SOME_DAY, **changes: object) -> pb.Event:
    event = pb.Event(event_id=f"scan-{number}", user_id=f"user-{number % 20}", session_id="s", event="viewed")
    event.event_time.FromSeconds(day * DAY_SECONDS + number * 7)
    event.MergeFrom(pb.Event(**changes))  # type: ignore[arg-type]
    return event


def emptied(service: Service) -> None:
    with service.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE events, event_deltas, event_hours, event_days")


def day_range(first: int = SOME_DAY, days: int = 1) -> TimeRange:
    start, end = first * DAY_SECONDS, (first + days) * DAY_SECONDS
    return TimeRange(start_time=Timestamp(seconds=start), end_time=Timestamp(seconds=end))
