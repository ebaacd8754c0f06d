"""Reads columns of events from the events service; chunks it sent before are asked for by revision."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2 as pb
from numpy.typing import NDArray

from services.funnels.reading.chunks import Chunk, ChunkCache
from services.funnels.reading.plan import Columns
from shared.calendar import DAY_MICROS
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub

# What one call may name, and a part of what it may weigh: all chunks that are held are named in it.
_EVENTS_AT_ONCE = 100
_REQUEST_BYTES = 4 * 2**20
# What naming a chunk takes beside the name of its event.
_KNOWN_BYTES = 24


def days_of(start: int, end: int) -> tuple[int, int]:
    """Return the half-open range of UTC days since 1970 that [start, end), in Unix µs, touches."""
    return start // DAY_MICROS, -(-end // DAY_MICROS)


@dataclass(frozen=True)
class Scanner:
    """Reads chunks. Every read asks for the revisions of its chunks, so that none is older than the read."""

    events: "EventsServiceStub"
    cache: ChunkCache

    def read(
        self, wanted: Sequence[Columns], days: tuple[int, int], user_key: int | None = None
    ) -> dict[Columns, list[Chunk]]:
        """Return the chunks of columns on a half-open range of days, by day; of one user alone if told.

        What is of one user is not kept.
        """
        alike: defaultdict[Columns, list[Columns]] = defaultdict(list)
        for columns in wanted:
            alike[Columns("", columns.filters, columns.match_sets, columns.path)].append(columns)
        found: dict[Columns, list[Chunk]] = {}
        for group in alike.values():
            for some in batches(group, days):
                found |= self._read(some, days) if user_key is None else self._read_of(some, days, user_key)
        return found

    def _read_of(
        self, group: list[Columns], days: tuple[int, int], user_key: int
    ) -> dict[Columns, list[Chunk]]:
        request = scan_request(group, days, {})
        request.user_keys.append(user_key)
        found: dict[str, list[tuple[int, Chunk]]] = {columns.event: [] for columns in group}
        for parts in _whole(self.events.ScanEvents(request)):
            found[parts[0].event].append((parts[0].day, _chunk(parts, group[0])))
        return {columns: [chunk for _, chunk in sorted(found[columns.event])] for columns in group}

    def _read(self, group: list[Columns], days: tuple[int, int]) -> dict[Columns, list[Chunk]]:
        named = {columns.event: columns for columns in group}
        held = {columns.event: self.cache.held(columns, days) for columns in group}
        found = {event: dict(chunks) for event, chunks in held.items()}
        new: dict[str, list[tuple[int, Chunk]]] = defaultdict(list)
        for parts in _whole(self.events.ScanEvents(scan_request(group, days, held))):
            if not parts[0].unchanged:  # a service that does not know how to leave them out names them
                event, day = parts[0].event, parts[0].day
                found[event][day] = _chunk(parts, group[0])
                new[event].append((day, found[event][day]))
        for event, chunks in new.items():
            self.cache.keep(named[event], chunks)
        return {
            named[event]: [chunk for _, chunk in sorted(by_day.items())] for event, by_day in found.items()
        }


def batches(group: Sequence[Columns], days: tuple[int, int]) -> Iterator[list[Columns]]:
    """Yield columns that one call may ask for together, though every chunk of them be held."""
    batch: list[Columns] = []
    size = 0
    for columns in group:
        more = (days[1] - days[0]) * (len(columns.event.encode()) + _KNOWN_BYTES)
        if batch and (len(batch) == _EVENTS_AT_ONCE or size + more > _REQUEST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(columns)
        size += more
    if batch:
        yield batch


def scan_request(
    group: list[Columns], days: tuple[int, int], held: dict[str, dict[int, Chunk]]
) -> pb.ScanEventsRequest:
    """Return what asks for columns on days, of which chunks are held by event and day."""
    columns = group[0]
    return pb.ScanEventsRequest(
        events=[each.event for each in group],
        time_range=common_pb2.TimeRange(
            start_time=from_micros(days[0] * DAY_MICROS), end_time=from_micros(days[1] * DAY_MICROS)
        ),
        filters=_filters(columns.filters),
        match_sets=[pb.MatchSet(filters=_filters(each)) for each in columns.match_sets],
        properties=[columns.path] if columns.path else [],
        known_chunks=[
            pb.KnownChunk(event=event, day=day, revision=chunk.revision)
            for event, by_day in held.items()
            for day, chunk in by_day.items()
        ],
        omit_unchanged=True,
        group_chunks=True,
    )


def _filters(filters: tuple[bytes, ...]) -> list[common_pb2.PropertyFilter]:
    return [common_pb2.PropertyFilter.FromString(each) for each in filters]


def _whole(messages: Iterator[pb.ScanEventsResponse]) -> Iterator[list[pb.ScanEventsResponse]]:
    """Yield the messages of each chunk."""
    parts: list[pb.ScanEventsResponse] = []
    # A service that does not know how to group them sends them one by one.
    for message in (each for group in messages for each in group.chunks or (group,)):
        parts.append(message)
        if not message.partial:
            yield parts
            parts = []


def _chunk(parts: list[pb.ScanEventsResponse], columns: Columns) -> Chunk:
    codes, texts = _property(parts) if columns.path else (None, ())
    matches = np.frombuffer(b"".join(each.matches for each in parts), "<u8")
    return Chunk(
        parts[0].revision,
        np.frombuffer(b"".join(each.user_keys for each in parts), "<i4"),
        np.frombuffer(b"".join(each.event_times for each in parts), "<i8"),
        matches if columns.match_sets else None,
        codes,
        texts,
    )


def _property(parts: list[pb.ScanEventsResponse]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Return one dictionary for the parts, each of which has its own, and the codes in it."""
    columns = [each.properties[0] for each in parts if each.properties]
    texts = tuple(sorted({text for column in columns for text in column.dictionary_json}))
    return recoded(
        [(np.frombuffer(each.codes, "<i4"), tuple(each.dictionary_json)) for each in columns], texts
    ), texts


def recoded(
    columns: Sequence[tuple[NDArray[np.int32], tuple[str, ...]]], texts: tuple[str, ...]
) -> NDArray[np.int32]:
    """Return the codes of columns, one after the other, in a dictionary that holds all their texts."""
    code_of = {text: code for code, text in enumerate(texts)}
    # The last place is that of the code -1.
    tables = [np.array([*(code_of[text] for text in own), -1], np.int32) for _, own in columns]
    parts = [table[codes] for table, (codes, _) in zip(tables, columns, strict=True)]
    return np.concatenate([np.empty(0, np.int32), *parts])
