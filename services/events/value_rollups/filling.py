"""Filling a registered property's roll-ups from history, beside ingest, by any replica.

A generation begins while nobody stores events (milliseconds: registrations.py), and that very moment is the
snapshot from which history is read, at leisure. All of it is committed at once, or, where the filler dies,
never: then a new generation begins. The snapshot stays open for as long as reading takes.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from psycopg.errors import LockNotAvailable
from sqlalchemy import text

from services.events.distribution import Statement
from services.events.rollups.deltas import Groups
from services.events.value_rollups.extraction import TEXT_SQL
from services.events.value_rollups.registrations import FILLING_LOCK, STORING_LOCK, StaleRegistrationsError
from services.events.value_rollups.value_keys import MAXIMUM_PAIRS, ValueKeys
from shared.calendar import HOUR_MICROS, day_of_number, day_start, to_datetime_utc, to_micros
from shared.database import driver_cursor

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Connection, Engine

    from services.events.rollups.cover import ReportingCalendar

# Days read by one statement.
_DAYS = 31
# How long ingest may be held up by a transaction that stores events and does not end.
_LOCK_TIMEOUT = "1s"

_WAITING = """
SELECT property_id, path, event FROM registered_properties
WHERE NOT is_overfull AND NOT EXISTS (
    SELECT FROM property_fills WHERE property_fills.generation = registered_properties.generation
) AND pg_try_advisory_xact_lock(%(lock)s)
ORDER BY property_id LIMIT 1
"""

_ALONE = (f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'", f"SELECT pg_advisory_xact_lock({STORING_LOCK})")

# The first statement of the filler's transaction: from here on it sees what is stored now.
_SNAPSHOT = text(f"SELECT pg_try_advisory_xact_lock({FILLING_LOCK})")

_BEGIN = text("""
WITH begun AS (
    UPDATE registered_properties SET generation = nextval('property_generations')
    WHERE property_id = :property_id AND NOT is_overfull AND NOT EXISTS (
        SELECT FROM property_fills WHERE property_fills.generation = registered_properties.generation
    ) RETURNING generation
), counted AS (
    UPDATE property_state SET version = version + 1
)
SELECT generation FROM begun
""")

_LOOK = """
SELECT min(first), max(last) FROM event_types CROSS JOIN LATERAL (
    SELECT min(event_time) AS first, max(event_time) AS last FROM events
    WHERE events.event_key = event_types.event_key
) AS times
"""
_SPAN = Statement(here=_LOOK, spread="SELECT min(event_time), max(event_time) FROM events")

# More rows than an allowed property has are not fetched.
_HISTORY = """
SELECT event_key, {text} AS value_text,
       width_bucket(event_time, %(bounds)s::timestamptz[]) - 1 AS number,
       count(*), coalesce(sum(value), 0), string_agg(int4send(user_key), '')
FROM event_types JOIN events USING (event_key)
WHERE (%(event)s::text IS NULL OR event = %(event)s::text)
  AND event_time >= %(start_time)s AND event_time < %(end_time)s
GROUP BY event_key, value_text, number
LIMIT %(limit)s
""".format(text=TEXT_SQL.format(value="(properties #> %(path)s::text[])"))

# History goes before whatever was appended since its snapshot: it is folded first.
_APPEND = """
INSERT INTO value_deltas (delta_id, first_hour, last_hour, payload) OVERRIDING SYSTEM VALUE
VALUES (-nextval(pg_get_serial_sequence('value_deltas', 'delta_id')),
        %(first_hour)s, %(last_hour)s, %(payload)s)
"""

_DONE = "INSERT INTO property_fills (generation) VALUES (%(generation)s)"


@dataclass(frozen=True, slots=True)
class _Waiting:
    property_id: int
    path: tuple[str, ...]
    event: str | None


@dataclass(frozen=True, slots=True)
class _Generation:
    number: int
    path: tuple[str, ...]
    event: str | None


def fill_one(engine: "Engine", calendar: "ReportingCalendar") -> bool:
    """Fill the roll-ups of the next property that waits for it; return whether there was one.

    A property that turns out to have too many values is given up. While another replica fills, or storing
    events goes on without a pause, nothing happens, and False is returned.
    """
    waiting = _next(engine)
    if waiting is None:
        return False
    with ExitStack() as opened:
        connection = opened.enter_context(engine.connect())
        connection = connection.execution_options(isolation_level="REPEATABLE READ")
        generation = _begin(engine, connection, waiting)
        if generation is None:
            return False
        try:
            with driver_cursor(connection) as cursor:
                _fill(cursor, generation, ValueKeys(engine), calendar, _SPAN.of(connection))
        except StaleRegistrationsError:
            connection.rollback()
        else:
            connection.commit()
    return True


def _next(engine: "Engine") -> _Waiting | None:
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        row = cursor.execute(_WAITING, {"lock": FILLING_LOCK}).fetchone()
    return None if row is None else _Waiting(row[0], tuple(row[1]), row[2])


def _begin(engine: "Engine", filling: "Connection", waiting: _Waiting) -> _Generation | None:
    """Begin a generation at the moment of the snapshot of `filling`."""
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        try:
            for statement in _ALONE:
                cursor.execute(statement.encode())
        except LockNotAvailable:
            connection.rollback()
            return None
        if not filling.execute(_SNAPSHOT).scalar_one():
            return None
        begun = connection.execute(_BEGIN, {"property_id": waiting.property_id})
        number = begun.scalar_one_or_none()
    return None if number is None else _Generation(number, waiting.path, waiting.event)


def _fill(
    cursor: "Cursor[tuple[Any, ...]]",
    generation: _Generation,
    value_keys: ValueKeys,
    calendar: "ReportingCalendar",
    span: str,
) -> None:
    limit = MAXIMUM_PAIRS * _DAYS
    for days in _spans(cursor, calendar, span):
        bounds = [day_start(day_of_number(day), calendar.zone) for day in (*days, days[-1] + 1)]
        parameters = {
            "path": list(generation.path),
            "event": generation.event,
            "bounds": [to_datetime_utc(bound) for bound in bounds[:-1]],
            "start_time": to_datetime_utc(bounds[0]),
            "end_time": to_datetime_utc(bounds[-1]),
            "limit": limit,
        }
        rows = cursor.execute(_HISTORY, parameters).fetchall()
        if len(rows) == limit:
            value_keys.give_up(generation.number)
        if rows:
            keys = value_keys.keys(generation.number, [(event_key, value) for event_key, value, *_ in rows])
            hours = {"first_hour": bounds[0] // HOUR_MICROS, "last_hour": bounds[-1] // HOUR_MICROS}
            cursor.execute(_APPEND, hours | {"payload": _groups(rows, keys, days).pack()})
    cursor.execute(_DONE, {"generation": generation.number})


def _spans(cursor: "Cursor[tuple[Any, ...]]", calendar: "ReportingCalendar", span: str) -> Iterator[range]:
    """Yield the reporting days that hold events, some at a time."""
    [first, last] = cursor.execute(span.encode()).fetchone() or (None, None)
    if first is None:
        return
    [start, end] = calendar.days_of(np.array([to_micros(first), to_micros(last)], np.int64)).tolist()
    for day in range(start, end + 1, _DAYS):
        yield range(day, min(day + _DAYS, end + 1))


def _groups(rows: list[tuple[Any, ...]], keys: list[int], days: range) -> Groups:
    """Return the groups of (event key, value, number of the day, events, sum, user keys)."""
    users = [np.unique(np.frombuffer(packed, ">i4").astype(np.int32)) for *_, packed in rows]
    sums = [int(value_sum) for *_, value_sum, _ in rows]
    own_days = np.array([days[number] for _, _, number, *_ in rows], np.int32)
    return Groups(
        event_keys=np.array(keys, np.int32),
        days=own_days,
        hours=own_days * 24,
        user_counts=np.array([len(each) for each in users], np.int32),
        events=np.array([events for _, _, _, events, *_ in rows], np.int64),
        value_high=np.array([value_sum >> 32 for value_sum in sums], np.int64),
        value_low=np.array([value_sum & 0xFFFFFFFF for value_sum in sums], np.int64),
        revisions=np.zeros(len(rows), np.uint64),
        user_keys=np.concatenate(users),
    )
