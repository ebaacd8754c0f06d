"""Columns of raw events kept in memory, a chunk for each (event, UTC day), read again once they changed."""

import hashlib
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from services.events.domain import Condition, Selection
from services.events.reading.columns import Columns, joined
from services.events.reading.scanning import Chunk, Scan

if TYPE_CHECKING:
    from services.events.reading.scanning import Scanner

# What an entry costs beside its columns, and a text beside its characters.
_ENTRY_BYTES, _TEXT_BYTES = 800, 60


@dataclass(frozen=True, slots=True)
class Step:
    """Events by name, meeting conditions; with the property at a path, if there is one."""

    event: str
    conditions: tuple[Condition, ...] = ()
    path: tuple[str, ...] | None = None

    @property
    def key(self) -> bytes:
        """Tell steps apart, briefly: 1 and True are equal in Python, and filters that differ."""
        return hashlib.blake2b(repr(self).encode(), digest_size=24).digest()


@dataclass(frozen=True, slots=True)
class _Entry:
    revision: int
    columns: Columns
    size: int


class ColumnCache:
    """Reads the events of steps. Safe between threads.

    Every read asks for the revisions of its chunks, so that what it returns is never older than the read. At
    most `maximum_bytes` are kept, what was used least recently goes first; 0 keeps nothing.
    """

    def __init__(self, scanner: "Scanner", maximum_bytes: int) -> None:
        self._scanner = scanner
        self._maximum_bytes = maximum_bytes
        self._entries: OrderedDict[tuple[bytes, int], _Entry] = OrderedDict()
        self._days: defaultdict[bytes, set[int]] = defaultdict(set)
        self._held_bytes = 0
        self._lock = Lock()

    @property
    def held_bytes(self) -> int:
        """How much is kept now."""
        return self._held_bytes

    def read(self, step: Step, days: tuple[int, int]) -> Columns:
        """Return the events of a step on a half-open range of days since 1970 (UTC)."""
        key = step.key
        held = self._held(key, days)
        known = {(step.event, day): entry.revision for day, entry in held.items()}
        scan = Scan(
            events=(step.event,),
            days=days,
            selection=Selection((step.event,), conditions=step.conditions),
            with_value=False,
            properties=(step.path,) if step.path else (),
        )
        parts: dict[int, Columns] = {}
        for chunk in self._scanner.scan(scan, known):
            if chunk.unchanged:
                parts[chunk.day] = held[chunk.day].columns
            else:
                parts[chunk.day] = _columns(chunk, with_codes=step.path is not None)
                self._keep((key, chunk.day), chunk.revision, parts[chunk.day])
        return joined([parts[day] for day in sorted(parts)])

    def _held(self, key: bytes, days: tuple[int, int]) -> dict[int, _Entry]:
        first, last = days
        with self._lock:
            found = sorted(day for day in self._days.get(key, ()) if first <= day < last)
            for day in found:
                self._entries.move_to_end((key, day))
            return {day: self._entries[key, day] for day in found}

    def _keep(self, name: tuple[bytes, int], revision: int, columns: Columns) -> None:
        entry = _Entry(revision, columns, _size(columns))
        with self._lock:
            if name in self._entries:
                self._drop(name)
            if entry.size > self._maximum_bytes:
                return
            self._entries[name] = entry
            self._days[name[0]].add(name[1])
            self._held_bytes += entry.size
            while self._held_bytes > self._maximum_bytes:
                self._drop(next(iter(self._entries)))

    def _drop(self, name: tuple[bytes, int]) -> None:
        key, day = name
        self._held_bytes -= self._entries.pop(name).size
        self._days[key].discard(day)
        if not self._days[key]:
            del self._days[key]


def _columns(chunk: Chunk, *, with_codes: bool) -> Columns:
    """Return the columns of a chunk; several readers hold them, so nobody may write to them."""
    columns = Columns(chunk.user_keys, chunk.times)
    if with_codes and chunk.properties:
        [(texts, codes)] = chunk.properties
        columns = Columns(chunk.user_keys, chunk.times, codes, tuple(texts))
    elif with_codes:  # an empty chunk
        columns = Columns(chunk.user_keys, chunk.times, chunk.user_keys)
    for column in (columns.user_keys, columns.times, columns.codes):
        if column is not None:
            column.flags.writeable = False
    return columns


def _size(columns: Columns) -> int:
    codes = 0 if columns.codes is None else columns.codes.nbytes
    texts = sum(len(text) + _TEXT_BYTES for text in columns.texts)
    return columns.user_keys.nbytes + columns.times.nbytes + codes + texts + _ENTRY_BYTES
