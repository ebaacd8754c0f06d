"""Puts together what is to be matched: events of the events service, and step records kept here."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator, TimeRange
from brain.events.v1 import events_pb2
from numpy.typing import NDArray

from services.funnels.columns import Source
from services.funnels.domain import Funnel, Population
from services.funnels.reading.identities import Identities
from services.funnels.reading.plan import Columns, Reading, plan
from services.funnels.reading.scanning import Scanner, days_of, recoded
from services.funnels.rules import OrderMode
from services.funnels.tracking.store import RecordStore
from shared.errors import FailedPrecondition
from shared.intervals import LATEST
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceStub
    from sqlalchemy import Engine

    from services.funnels.reading.chunks import Chunk

# The first keys of anonymous ids and of sessions at the events service.
_FIRST_KEY = {Population.KNOWN: 2**29, Population.PEOPLE: 2**30}
_MAXIMUM_NAMES = 1_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What to load: a funnel, when its attempts begin ([start, end) in Unix µs), who counts.

    path: a property to load besides, "" for none. further: filters that all events of steps must meet besides
    their own, as the contract's bytes; step records have no properties. user_key: of whom events are enough,
    None for everybody; below 0 where the events service does not know them. Step records are of everybody.
    """

    funnel: Funnel
    entries: tuple[int, int]
    population: Population = Population.ACTORS
    path: str = ""
    further: tuple[bytes, ...] = ()
    user_key: int | None = None

    @property
    def times(self) -> tuple[int, int]:
        """Return [start, end) of all times that attempts may have."""
        start, end = self.entries
        return start, min(end + self.funnel.window, LATEST)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Everything that may be of an attempt.

    codes: which of the texts each row has, -1 for none of them; None where no property was asked for.
    """

    events: Source
    codes: NDArray[np.int32] | None
    texts: tuple[str, ...] = ()

    def rows(self, rows: NDArray[np.bool_]) -> "Loaded":
        """Return some rows."""
        codes = None if self.codes is None else self.codes[rows]
        return Loaded(self.events.rows(rows), codes, self.texts)


@dataclass(frozen=True, slots=True)
class Parts:
    """What is stored, not yet put together: the chunks of each reading, and step records."""

    asked: Asked
    filled: "list[tuple[Reading, list[Chunk]]]"
    records: Source | None

    @property
    def fingerprint(self) -> bytes:
        """Return what differs wherever what is stored differs."""
        digest = hashlib.blake2b(digest_size=16)
        for reading, chunks in self.filled:
            digest.update(reading.columns.event.encode() + b"\0")
            digest.update(np.array([chunk.revision for chunk in chunks], np.uint64).tobytes())
        if self.records is not None:
            for column in (self.records.user_keys, self.records.times, self.records.steps):
                digest.update(column.tobytes())
        return digest.digest()

    def loaded(self) -> Loaded:
        """Put it together."""
        codes, texts = _codes([chunks for _, chunks in self.filled], self.asked.path)
        loaded = _cut(Loaded(_source(self.filled), codes, texts), self.asked)
        return loaded if self.records is None else _joined(loaded, self.records)


@dataclass(frozen=True)
class Loader:
    """Loads events and records."""

    engine: "Engine"
    events: "EventsServiceStub"
    scanner: Scanner
    records: RecordStore
    identities: Identities

    def read(self, asked: Asked) -> Parts:
        """Return what is stored now."""
        readings = plan(asked.funnel, asked.path, asked.further)
        if asked.funnel.mode is OrderMode.STRICT:
            readings += self._others(asked, {each.columns.event for each in readings})
        columns, days = [each.columns for each in readings], days_of(*asked.times)
        is_unknown = asked.user_key is not None and asked.user_key < 0
        chunks = {} if is_unknown else self.scanner.read(columns, days, asked.user_key)
        filled = [(each, chunks.get(each.columns, [])) for each in readings]
        return Parts(asked, filled, self._records(asked))

    def _others(self, asked: Asked, names: Collection[str]) -> list[Reading]:
        """Return the readings of all events besides, which stand between steps."""
        start, end = asked.times
        request = events_pb2.GetTopEventsRequest(
            time_range=TimeRange(start_time=from_micros(start), end_time=from_micros(end)),
            limit=_MAXIMUM_NAMES,
        )
        found = [each.event for each in self.events.GetTopEvents(request).top_events]
        if len(found) == _MAXIMUM_NAMES:
            raise FailedPrecondition(
                f"a strict funnel reads every event, and there are {_MAXIMUM_NAMES:,} names or more",
                "TOO_MANY_EVENTS",
            )
        return [
            Reading(Columns(name, path=asked.path), (0,), (0,)) for name in sorted(found) if name not in names
        ]

    def _records(self, asked: Asked) -> Source | None:
        if asked.funnel.number is None or not all(map(_is_met_by_nothing, asked.further)):
            return None
        with self.engine.begin() as connection:
            records = self.records.read(connection, asked.funnel.number, asked.times)
        if not len(records.times):
            return None
        user_keys, counts = self.identities.keys(records.user_keys, asked.population)
        steps = np.left_shift(np.uint64(1), records.steps.astype(np.uint64))
        found = Source(user_keys, records.times, steps, np.zeros(len(steps), np.uint64))
        return found.rows(counts & (records.steps < len(asked.funnel.steps)))


def _is_met_by_nothing(condition: bytes) -> bool:
    """Tell whether an event without properties meets a filter."""
    operator = PropertyFilter.FromString(condition).operator
    return operator == PropertyOperator.PROPERTY_OPERATOR_NOT_EQUALS


def _source(filled: "Sequence[tuple[Reading, Sequence[Chunk]]]") -> Source:
    """Return the events of all chunks, one after the other."""
    chunks = [chunk for _, held in filled for chunk in held]
    user_keys = np.concatenate([np.empty(0, np.int32), *(chunk.user_keys for chunk in chunks)])
    times = np.concatenate([np.empty(0, np.int64), *(chunk.times for chunk in chunks)])
    steps, bans = (np.zeros(len(times), np.uint64) for _ in range(2))
    end = 0
    for reading, held in filled:
        start, end = end, end + sum(len(chunk.times) for chunk in held)
        matches = [chunk.matches for chunk in held if chunk.matches is not None]
        for column, masks in ((steps, reading.steps), (bans, reading.bans)):
            if not any(masks):  # nothing is written where nothing is filled
                continue
            if reading.columns.match_sets:
                column[start:end] = _filled(np.concatenate([np.empty(0, np.uint64), *matches]), masks)
            else:
                column[start:end] = masks[0]
    return Source(user_keys, times, steps, bans)


def _filled(matches: NDArray[np.uint64], masks: tuple[int, ...]) -> NDArray[np.uint64]:
    filled = np.zeros(len(matches), np.uint64)
    for number, mask in enumerate(masks):
        if mask:
            meets = (matches >> np.uint64(number)) & np.uint64(1) != 0
            filled[meets] |= np.uint64(mask)
    return filled


def _codes(
    filled: "Sequence[Sequence[Chunk]]", path: str
) -> tuple[NDArray[np.int32] | None, tuple[str, ...]]:
    """Return the codes of all rows, in one sorted dictionary."""
    if not path:
        return None, ()
    chunks = [chunk for held in filled for chunk in held]
    texts = tuple(sorted({text for chunk in chunks for text in chunk.texts}))
    columns = [
        (
            np.full(len(chunk.times), -1, np.int32)
            if chunk.codes is None or not len(chunk.codes)
            else chunk.codes,
            chunk.texts,
        )
        for chunk in chunks
    ]
    return recoded(columns, texts), texts


def _cut(loaded: Loaded, asked: Asked) -> Loaded:
    """Leave out what lies outside the times, or is of people who do not count."""
    start, end = asked.times
    events = loaded.events
    inside = events.times >= start
    inside &= events.times < end
    if asked.population in _FIRST_KEY:
        inside &= events.user_keys < _FIRST_KEY[asked.population]
    if not inside.all():
        loaded = loaded.rows(inside)
    return loaded


def _joined(loaded: Loaded, records: Source) -> Loaded:
    codes = loaded.codes
    if codes is not None:
        codes = np.concatenate((codes, np.full(len(records), -1, np.int32)))
    return Loaded(Source.joined([loaded.events, records]), codes, loaded.texts)
