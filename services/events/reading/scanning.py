"""Packed columns of raw events, a chunk for each (event, UTC day), with revisions that tell changes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from services.events import stored_chunks
from services.events.distribution import is_spread
from services.events.domain import Condition, Selection
from services.events.packed import unix_times
from services.events.reading import chunk_revisions, conditions, spread_rows
from services.events.reading.ahead import read_ahead
from services.events.reading.chunk_revisions import ChunkName
from services.events.reading.columns import by_user
from services.events.rollups.deltas import NO_VALUE
from services.events.stored_chunks import StoredChunk
from shared.database import driver_cursor
from shared.errors import ResourceExhausted

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Rows fetched by one statement, a tenth of them with properties; a larger chunk is fetched whole.
STATEMENT_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Scan:
    """What to scan: names, a half-open range of days since 1970 (UTC), conditions, and further columns.

    Of anybody where there are no user keys.
    """

    events: tuple[str, ...]
    days: tuple[int, int]
    selection: Selection
    with_value: bool
    properties: tuple[tuple[str, ...], ...]
    match_sets: tuple[tuple[Condition, ...], ...] = ()
    user_keys: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Tell whether it is of all events of the names, as their columns are stored."""
        return not (self.selection.conditions or self.properties or self.match_sets or self.user_keys)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Columns sorted by user key, then time; None where they were not asked for, or not needed.

    times are Unix µs; values millionths or NO_VALUE; each property a dictionary of JSON texts and codes (-1:
    absent); bit i of matches tells whether the event meets match set i.
    """

    event: str
    day: int
    revision: int
    unchanged: bool
    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.int64] | None
    properties: tuple[tuple[list[str], NDArray[np.int32]], ...]
    matches: NDArray[np.uint64] | None = None


_STORED = """
SELECT 4, event, day, revision::numeric, NULL::int8, NULL::bytea FROM stored_chunks
WHERE event = ANY(%(events)s::text[]) AND day >= %(first_day)s AND day < %(last_day)s
"""

# A look into the index for each chunk: grouping rows by day would cost more than reading them.
_LOOK = """
SELECT 2, event, day, NULL::numeric, row_count, NULL::bytea, user_keys, event_times {names}
FROM unnest(%(chunk_events)s::text[], %(chunk_days)s::int4[]) AS wanted(event, day)
JOIN (SELECT event, array_agg(event_key) AS event_keys FROM event_types GROUP BY event) AS named USING (event)
CROSS JOIN LATERAL (
    SELECT count(*) AS row_count, string_agg(int4send(user_key), '') AS user_keys,
           string_agg(timestamptz_send(event_time), '') AS event_times {columns}
    FROM events
    WHERE event_key = ANY(event_keys) {conditions}
      AND event_time >= '1970-01-01 00:00+00'::timestamptz + make_interval(hours => day * 24)
      AND event_time < '1970-01-01 00:00+00'::timestamptz + make_interval(hours => (day + 1) * 24)
) AS chunk
WHERE row_count > 0
"""


class Scanner:
    """Reads chunks. No transaction stays open while the caller of a generator is slow."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def scan(self, scan: Scan, known: Mapping[ChunkName, int]) -> Iterator[Chunk]:
        """Yield the chunks of a scan by day, then event; those whose revision is known without columns."""
        first, last = scan.days
        current, stored = self._revisions(scan)
        for name in known.keys() - current.keys():
            if name[0] in scan.events and first <= name[1] < last:
                yield _empty(*name)
        changed: dict[ChunkName, int] = {}
        for (event, day), (revision, rows) in sorted(current.items(), key=lambda item: item[0][::-1]):
            if known.get((event, day)) == revision:
                yield _empty(event, day, revision, unchanged=True)
            else:
                changed[event, day] = rows
        limit = STATEMENT_ROWS // 10 if scan.properties or scan.match_sets else STATEMENT_ROWS
        parts = list(_statements(changed, limit))
        for chunks in read_ahead(parts, lambda names: self._chunks(scan, names, stored)):
            yield from chunks

    def _chunks(self, scan: Scan, names: list[ChunkName], stored: Mapping[ChunkName, int]) -> list[Chunk]:
        """Return chunks, as they are stored or else from the events, in the order of their names."""
        found = self._stored(scan, [(*name, stored[name]) for name in names if name in stored])
        rest = [name for name in names if name not in found]
        if rest:
            found |= {(chunk.event, chunk.day): chunk for chunk in self._read(scan, rest)}
        return [found[name] for name in names if name in found]

    def _revisions(self, scan: Scan) -> tuple[dict[ChunkName, tuple[int, int]], dict[ChunkName, int]]:
        """Return revision and number of rows of each chunk, and the revision of those that are stored so."""
        parts = [*chunk_revisions.STATEMENTS]
        if scan.is_whole:
            parts.append(_STORED)
        statement = " UNION ALL ".join(parts).format(nulls="")
        parameters = {"events": list(scan.events), "first_day": scan.days[0], "last_day": scan.days[1]}
        rows = self._execute(statement, parameters)
        current = chunk_revisions.revisions(rows, scan.days)
        stored = {(row[1], row[2]): int(row[3]) % 2**64 for row in rows if row[0] == _KEPT}
        return current, {
            name: revision for name, revision in stored.items() if current.get(name, (None,))[0] == revision
        }

    def _stored(self, scan: Scan, names: list[tuple[str, int, int]]) -> dict[ChunkName, Chunk]:
        """Return chunks, by event, day and revision, that are still stored."""
        if not names:
            return {}
        statement = stored_chunks.read_statement(with_amounts=scan.with_value)
        rows = self._execute(statement, stored_chunks.names_of(names))
        return {(row[0], row[1]): _as_stored(StoredChunk(*row), scan) for row in rows}

    def _read(self, scan: Scan, names: list[ChunkName]) -> Iterator[Chunk]:
        """Read rows and revisions in one statement: one snapshot, so the revision is that of these rows."""
        spread = is_spread(self._engine)
        statement, parameters = _read_statement(scan, spread=spread)
        days = names[0][1], names[-1][1] + 1
        parameters |= {
            "events": sorted({event for event, _ in names}),
            "first_day": days[0],
            "last_day": days[1],
            "chunk_events": [event for event, _ in names],
            "chunk_days": [day for _, day in names],
        }
        rows = self._execute(statement, parameters)
        revisions = chunk_revisions.revisions(rows, days)
        found = {(row[1], row[2]): row for row in rows if row[0] == _ROW}
        for name in names:
            if name in found:
                yield (
                    _spread_chunk(found[name], scan)
                    if spread
                    else _chunk(found[name], revisions[name][0], scan)
                )
            elif name in revisions:  # no row meets the conditions, but a caller can keep the revision
                yield _empty(*name, 0 if spread else revisions[name][0])

    def _execute(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        try:
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                return cursor.execute(statement.encode(), parameters).fetchall()
        except psycopg.errors.ProgramLimitExceeded as error:  # a column of a chunk beyond a gigabyte
            raise ResourceExhausted(
                "a chunk is too large with these properties", "CHUNK_TOO_LARGE"
            ) from error


def _read_statement(scan: Scan, *, spread: bool) -> tuple[str, dict[str, Any]]:
    clauses, parameters = conditions.to_sql(scan.selection.conditions)
    columns, names, nulls = "", "", ", NULL::bytea, NULL::bytea" * (1 + spread)
    if scan.user_keys:
        clauses += " AND user_key = ANY(%(user_keys)s::int4[])"
        parameters["user_keys"] = list(scan.user_keys)
    if scan.with_value:
        columns += ", string_agg(int8send(coalesce(value, -9223372036854775808)), '') AS amounts"
        names += ", amounts"
        nulls += ", NULL::bytea"
    if scan.match_sets:
        bits, used = conditions.matches_sql(scan.match_sets)
        columns += f", string_agg(int8send({bits}), '') AS matches"
        names += ", matches"
        nulls += ", NULL::bytea"
        parameters |= used
    for number, path in enumerate(scan.properties):
        columns += f", array_agg({conditions.property_text_sql(f'property_{number}')}) AS column_{number}"
        names += f", column_{number}"
        nulls += ", NULL::text[]"
        parameters[f"property_{number}"] = list(path)
    rows = (spread_rows.ROWS if spread else _LOOK).format(columns=columns, names=names, conditions=clauses)
    others = [part.format(nulls=nulls) for part in chunk_revisions.STATEMENTS]
    return " UNION ALL ".join((rows, *others)), parameters


# What a row is, beside the kinds of chunk_revisions.
_ROW, _KEPT = 2, 4


def _statements(rows_by_chunk: Mapping[ChunkName, int], limit: int) -> Iterator[list[ChunkName]]:
    """Cut the chunks, in order of day, into lists of about `limit` rows; a larger chunk stands alone."""
    names: list[ChunkName] = []
    rows = 0
    for name, count in rows_by_chunk.items():
        if names and rows + count > limit:
            yield names
            names, rows = [], 0
        names.append(name)
        rows += count
    if names:
        yield names


def _chunk(row: tuple[Any, ...], revision: int, scan: Scan) -> Chunk:
    _, event, day, _, _, _, packed_keys, packed_times, *further = row
    user_keys = np.frombuffer(packed_keys, ">i4").astype(np.int32)
    times = unix_times(packed_times)
    # The index gives the rows of one event type in the order of time: sorting by both takes long.
    in_time = bool((times[1:] >= times[:-1]).all())
    order = by_user(user_keys) if in_time else np.lexsort((times, user_keys))
    values = np.frombuffer(further.pop(0), ">i8").astype(np.int64)[order] if scan.with_value else None
    matches = np.frombuffer(further.pop(0), ">u8").astype(np.uint64)[order] if scan.match_sets else None
    properties = []
    for texts in further:
        dictionary, codes = _coded(texts)
        properties.append((dictionary, codes[order]))
    columns = user_keys[order], times[order], values
    return Chunk(event, day, revision, False, *columns, tuple(properties), matches)


def _spread_chunk(row: tuple[Any, ...], scan: Scan) -> Chunk:
    revision, kept = spread_rows.judged(row)
    return _empty(row[1], row[2], revision) if kept is None else _chunk(kept, revision, scan)


def _as_stored(chunk: StoredChunk, scan: Scan) -> Chunk:
    user_keys, times = np.frombuffer(chunk.user_keys, "<i4"), np.frombuffer(chunk.event_times, "<i8")
    values = None
    if scan.with_value:
        amounts = chunk.amounts
        values = np.full(len(times), NO_VALUE) if amounts is None else np.frombuffer(amounts, "<i8")
    return Chunk(chunk.event, chunk.day, chunk.revision % 2**64, False, user_keys, times, values, ())


def _coded(texts: list[str | None]) -> tuple[list[str], NDArray[np.int32]]:
    codes: dict[str | None, int] = {}
    coded = np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32)
    absent = codes.get(None)
    if absent is not None:
        coded = np.where(coded == absent, -1, np.where(coded > absent, coded - 1, coded)).astype(np.int32)
    return [text for text in codes if text is not None], coded


def _empty(event: str, day: int, revision: int = 0, *, unchanged: bool = False) -> Chunk:
    return Chunk(event, day, revision, unchanged, np.empty(0, np.int32), np.empty(0, np.int64), None, ())
