"""Packed columns of raw events, a chunk for each (event, UTC day), with revisions that tell changes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.events.calendar import day_of_number
from services.events.domain import Selection
from services.events.packed import unix_times
from services.events.reading import conditions
from services.events.rollups.deltas import Groups
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Rows fetched by one statement; a chunk larger than that is fetched whole.
STATEMENT_ROWS = 200_000

ChunkName = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Scan:
    """What to scan: names, a half-open range of days since 1970 (UTC), conditions, and further columns."""

    events: tuple[str, ...]
    days: tuple[int, int]
    selection: Selection
    with_value: bool
    properties: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Columns sorted by user key, then time; None where they were not asked for, or not needed.

    times are Unix µs; values millionths or NO_VALUE; each property a dictionary of JSON texts and codes (-1:
    absent).
    """

    event: str
    day: int
    revision: int
    unchanged: bool
    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    values: NDArray[np.int64] | None
    properties: tuple[tuple[list[str], NDArray[np.int32]], ...]


_PENDING = """
SELECT 1, '', 0, NULL::numeric, NULL::int8, payload {nulls} FROM event_deltas
WHERE first_hour < %(last_day)s * 24 AND last_hour >= %(first_day)s * 24
"""

_REVISIONS = """
SELECT 0, event, hour / 24 AS day, sum(revision), sum(events)::int8, NULL::bytea {nulls}
FROM event_types JOIN event_hours USING (event_key)
WHERE event = ANY(%(events)s::text[]) AND hour >= %(first_day)s * 24 AND hour < %(last_day)s * 24
GROUP BY event, day
"""

_NAMES = """
SELECT 3, event, event_key, NULL::numeric, NULL::int8, NULL::bytea {nulls}
FROM event_types WHERE event = ANY(%(events)s::text[])
"""

_ROWS = """
SELECT 2, event, floor(extract(epoch FROM event_time) / 86400)::int4, NULL::numeric, count(*), NULL::bytea,
       string_agg(int4send(user_key), ''), string_agg(timestamptz_send(event_time), '') {columns}
FROM event_types JOIN events USING (event_key)
WHERE event = ANY(%(events)s::text[])
  AND event_time >= %(start)s::date::timestamp AT TIME ZONE 'UTC'
  AND event_time < %(end)s::date::timestamp AT TIME ZONE 'UTC' {conditions}
GROUP BY event, 3
"""


class Scanner:
    """Reads chunks. No transaction stays open while the caller of a generator is slow."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def scan(self, scan: Scan, known: Mapping[ChunkName, int]) -> Iterator[Chunk]:
        """Yield the chunks of a scan by day, then event; those whose revision is known without columns."""
        first, last = scan.days
        current = self._revisions(scan)
        for name in known.keys() - current.keys():
            if name[0] in scan.events and first <= name[1] < last:
                yield _empty(*name)
        changed: dict[int, int] = defaultdict(int)
        for (event, day), (revision, rows) in current.items():
            if known.get((event, day)) == revision:
                yield _empty(event, day, revision, unchanged=True)
            else:
                changed[day] += rows
        for start, end in _statements(dict(sorted(changed.items()))):
            for chunk in self._read(scan, start, end):
                if known.get((chunk.event, chunk.day)) != chunk.revision:
                    yield chunk

    def _revisions(self, scan: Scan) -> dict[ChunkName, tuple[int, int]]:
        statement = f"{_NAMES} UNION ALL {_REVISIONS} UNION ALL {_PENDING}".format(nulls="")
        parameters = {"events": list(scan.events), "first_day": scan.days[0], "last_day": scan.days[1]}
        return _revisions(self._execute(statement, parameters), scan.days)

    def _read(self, scan: Scan, start: int, end: int) -> list[Chunk]:
        """Read rows and revisions in one statement: one snapshot, so the revision is that of these rows."""
        clauses, parameters = conditions.to_sql(scan.selection.conditions)
        columns = (
            ", string_agg(int8send(coalesce(value, -9223372036854775808)), '')" if scan.with_value else ""
        )
        nulls = ", NULL::bytea" * (2 + scan.with_value)
        for number, path in enumerate(scan.properties):
            columns += f", array_agg({conditions.property_sql(f'property_{number}')}::text)"
            nulls += ", NULL::text[]"
            parameters[f"property_{number}"] = list(path)
        statement = " UNION ALL ".join(
            (
                _ROWS.format(columns=columns, conditions=clauses),
                *(part.format(nulls=nulls) for part in (_NAMES, _REVISIONS, _PENDING)),
            )
        )
        parameters |= {
            "events": list(scan.events),
            "first_day": start,
            "last_day": end,
            "start": day_of_number(start),
            "end": day_of_number(end),
        }
        rows = self._execute(statement, parameters)
        revisions = _revisions(rows, (start, end))
        chunks = [_chunk(row, revisions[row[1], row[2]][0], scan) for row in rows if row[0] == _ROW]
        found = {(chunk.event, chunk.day) for chunk in chunks}
        # Days whose rows meet no condition are chunks as well, so that a caller can keep their revision.
        chunks += [_empty(*name, revision) for name, (revision, _) in revisions.items() if name not in found]
        return sorted(chunks, key=lambda chunk: (chunk.day, chunk.event))

    def _execute(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            return cursor.execute(statement.encode(), parameters).fetchall()


_BASE, _DELTA, _ROW, _NAME = range(4)


def _revisions(rows: list[tuple[Any, ...]], days: tuple[int, int]) -> dict[ChunkName, tuple[int, int]]:
    """Return revision and number of rows of each chunk that has any: the base plus every delta."""
    names = {row[2]: row[1] for row in rows if row[0] == _NAME}
    sums: dict[ChunkName, list[int]] = defaultdict(lambda: [0, 0])
    for kind, event, day, revision, count, payload, *_ in rows:
        if kind == _BASE:
            sums[event, day][0] += int(revision)
            sums[event, day][1] += count
        elif kind == _DELTA:
            for event_key, group_day, share, events in _delta_rows(Groups.unpack(payload), list(names), days):
                sums[names[event_key], group_day][0] += share
                sums[names[event_key], group_day][1] += events
    return {name: (revision % 2**64, count) for name, (revision, count) in sums.items() if count}


def _delta_rows(
    groups: Groups, event_keys: list[int], days: tuple[int, int]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield event key, UTC day, share of the revision and events of the groups that a scan is about."""
    group_days = groups.hours // 24
    wanted = np.isin(groups.event_keys, event_keys) & (group_days >= days[0]) & (group_days < days[1])
    columns = (groups.event_keys, group_days, groups.revisions, groups.events)
    return zip(*(column[wanted].tolist() for column in columns), strict=True)


def _statements(rows_by_day: dict[int, int]) -> Iterator[tuple[int, int]]:
    """Cut the days into ranges of about STATEMENT_ROWS rows; days that need no reading end a range."""
    start = end = rows = 0
    for day, count in rows_by_day.items():
        if rows and (day != end or rows + count > STATEMENT_ROWS):
            yield start, end
            rows = 0
        if not rows:
            start = day
        end, rows = day + 1, rows + count
    if rows:
        yield start, end


def _chunk(row: tuple[Any, ...], revision: int, scan: Scan) -> Chunk:
    _, event, day, _, _, _, packed_keys, packed_times, *further = row
    user_keys = np.frombuffer(packed_keys, ">i4").astype(np.int32)
    times = unix_times(packed_times)
    order = np.lexsort((times, user_keys))
    values = np.frombuffer(further.pop(0), ">i8").astype(np.int64)[order] if scan.with_value else None
    properties = []
    for texts in further:
        dictionary, codes = _coded(texts)
        properties.append((dictionary, codes[order]))
    return Chunk(event, day, revision, False, user_keys[order], times[order], values, tuple(properties))


def _coded(texts: list[str | None]) -> tuple[list[str], NDArray[np.int32]]:
    codes: dict[str | None, int] = {}
    coded = np.array([codes.setdefault(text, len(codes)) for text in texts], np.int32)
    absent = codes.get(None)
    if absent is not None:
        coded = np.where(coded == absent, -1, np.where(coded > absent, coded - 1, coded)).astype(np.int32)
    return [text for text in codes if text is not None], coded


def _empty(event: str, day: int, revision: int = 0, *, unchanged: bool = False) -> Chunk:
    return Chunk(event, day, revision, unchanged, np.empty(0, np.int32), np.empty(0, np.int64), None, ())
