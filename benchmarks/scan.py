"""Scans: a million raw events as columns over gRPC, and again with their revisions known."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import clickhouse, data, measuring
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    from benchmarks.clickhouse import ClickHouse
    from benchmarks.data import Columns
    from benchmarks.stack import Metadata
    from benchmarks.stored import Stored

ROWS = 1_000_000
BAR_SECONDS = 0.5


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure among `count` stored events, `calls` scans of each kind."""
    database, events = stored.database(count), stored.columns(count)
    names = _names(events)
    with (
        clickhouse.loaded(stored.stack.directory / "clickhouse_scan", events) as reference,
        stored.stack.service(database) as service,
        service.channel() as channel,
    ):
        scans = Scans(EventsServiceStub(channel), service.metadata, names, data.first_day(stored.now))
        return _lines(scans, reference, calls)


def _names(events: "Columns") -> list[str]:
    """Return the names that together have a million events, or nearly: the most frequent that fit."""
    counts = np.bincount(events.names, minlength=data.NAMES)
    names, rows = [], 0
    for number in np.argsort(-counts).tolist():
        if rows + counts[number] <= ROWS:
            names.append(data.name(number))
            rows += int(counts[number])
    return names


@dataclass(frozen=True)
class Scans:
    """Scans of the same events."""

    events: EventsServiceStub
    metadata: "Metadata"
    names: list[str]
    first_day: int

    def everything(self) -> list[pb.ScanEventsResponse]:
        """Ask for all columns."""
        return self._scan([])

    def repeated(self) -> Callable[[], list[pb.ScanEventsResponse]]:
        """Return a scan that knows every chunk already."""
        known = [
            pb.KnownChunk(event=chunk.event, day=chunk.day, revision=chunk.revision)
            for chunk in self.everything()
        ]
        return lambda: self._scan(known)

    def _scan(self, known: list[pb.KnownChunk]) -> list[pb.ScanEventsResponse]:
        start, end = (Timestamp(seconds=day * 86_400) for day in (self.first_day, self.first_day + data.DAYS))
        request = pb.ScanEventsRequest(
            events=self.names, time_range=TimeRange(start_time=start, end_time=end), known_chunks=known
        )
        return list(self.events.ScanEvents(request, metadata=self.metadata))


def _lines(scans: Scans, reference: "ClickHouse", calls: int) -> list[Line]:
    rows = sum(chunk.row_count for chunk in scans.everything())
    again = scans.repeated()
    unchanged = again()
    if not all(chunk.unchanged for chunk in unchanged):
        raise RuntimeError("a chunk that nobody touched is sent again")
    names = ", ".join(f"'{name}'" for name in scans.names)
    columns = f"SELECT user, time FROM events WHERE event IN ({names}) ORDER BY event, toDate(time), user"
    here, there, repeated = measuring.medians(
        [scans.everything, lambda: reference.fetch(columns), again], calls, run_length=1
    )
    return [
        Line(
            f"{rows:,} of {len(scans.names)} names, sorted by user and time",
            milliseconds(here),
            f"ClickHouse {milliseconds(there)}",
            f"{there / here:.1f} times as fast",
            f"≤ {milliseconds(BAR_SECONDS)}",
            here <= BAR_SECONDS,
        ),
        Line(
            f"the same again, {len(unchanged):,} revisions known",
            milliseconds(repeated),
            f"everything {milliseconds(here)}",
            f"{here / repeated:.1f} times as fast",
        ),
    ]
