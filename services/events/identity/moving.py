"""Moving and deleting the events of those whose identity changed, after the log says so.

One transaction does it whole for a person, with the delta that corrects the roll-ups: in every snapshot
roll-ups and events agree. An interrupted one leaves nothing behind; the change is still pending, and anybody
may begin anew. One transaction at a time moves, in the order of the log.
"""

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from services.events.domain import Change, ChangeKind
from services.events.packed import columns, unix_times
from services.events.reconnects import Reconnects
from services.events.rollups.appending import append, stored_events
from services.events.rollups.deltas import Groups, group
from services.events.stored_chunks import forget
from services.events.value_rollups.registrations import (
    STORING_LOCK,
    Registrations,
    StaleRegistrationsError,
)
from services.events.value_rollups.value_keys import ValueKeys
from services.events.value_rollups.value_rows import value_groups
from shared.database import driver_cursor
from shared.errors import Unavailable

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Cursor
    from sqlalchemy import Engine

    from services.events.rollups.cover import ReportingCalendar

# Corrects what is derived from the events of people, in the transaction that changed them: all keys that lost
# or gained events.
Correction = Callable[["Cursor[tuple[Any, ...]]", Sequence[int]], None]

# The first is of value_rollups/registrations.py, and to be held from the first statement on.
_LOCK = """
SELECT pg_advisory_xact_lock_shared(%(storing)s::int8),
       pg_advisory_xact_lock('identity_log'::regclass::oid::bigint)
"""

# How often properties may be registered or given up while somebody is moved.
ATTEMPTS = 10

_PENDING = """
SELECT position, kind, from_key, to_key, pending FROM identity_log WHERE pending ORDER BY position LIMIT 100
"""

_IS_PENDING = "SELECT FROM identity_log WHERE pending AND position <= %(position)s LIMIT 1"

_DONE = """
UPDATE identity_log SET pending = false, events = done.events
FROM unnest(%(positions)s::int8[], %(events)s::int8[]) AS done(position, events)
WHERE identity_log.position = done.position
"""

_PACKED = """
SELECT string_agg(int4send(event_key), ''), string_agg(int4send(user_key), ''),
       string_agg(timestamptz_send(event_time), ''), string_agg(uuid_send(event_id), ''),
       string_agg(int8send(coalesce(value, -9223372036854775808)), ''),
       CASE WHEN %(with_properties)s THEN array_agg(properties::text) END
FROM {table}
"""

_GONE = "WITH gone AS (DELETE FROM events WHERE user_key = ANY(%(from_keys)s::int4[]) RETURNING *)"

_INSERT = """kept AS (
    INSERT INTO events (event_time, received_time, value, event_id, user_key, event_key, anonymous_key,
                        session_id, event_id_text, page, referrer, user_agent, properties)
    SELECT event_time, received_time, value, {changed} properties
    FROM gone JOIN unnest(%(from_keys)s::int4[], %(to_keys)s::int4[]) AS moved(user_key, to_key)
         USING (user_key) {joined}
    ORDER BY date_trunc('month', event_time, 'UTC'), to_key, event_time, event_id
    ON CONFLICT DO NOTHING RETURNING *
)
"""

# What one id did that the other had done too, at one time under one event id, becomes one event.
_MERGED = _INSERT.format(
    joined="",
    changed="event_id, to_key, event_key, coalesce(anonymous_key, user_key), session_id, event_id_text,"
    " page, referrer, user_agent,",
)

# Whatever leads back to the person is replaced: the ids, where the events came from, with which device.
_ANONYMISED = _INSERT.format(
    joined="JOIN (SELECT session_id, gen_random_uuid()::text AS new_session_id"
    " FROM (SELECT DISTINCT session_id FROM gone) AS sessions) AS renamed USING (session_id)",
    changed="gen_random_uuid() AS event_id, to_key, event_key, NULL::int4, new_session_id, NULL::text,"
    " page, NULL::text, NULL::text,",
)

_STATEMENTS = {
    name: f"{_GONE}, {kept} {_PACKED.format(table='gone')} UNION ALL {_PACKED.format(table='kept')}"
    for name, kept in (("merge", _MERGED), ("anonymise", _ANONYMISED))
} | {"erase": f"{_GONE} {_PACKED.format(table='gone')}"}


class Mover:
    """Makes events follow the identity log."""

    def __init__(
        self, engine: "Engine", calendar: "ReportingCalendar", corrections: Sequence[Correction] = ()
    ) -> None:
        self._engine = engine
        self._calendar = calendar
        self._corrections = corrections
        self._value_keys = ValueKeys(engine)
        Reconnects(engine, self._value_keys)

    def finish(self, position: int) -> None:
        """Move until nothing up to a position of the log is pending."""
        while self._is_pending(position):
            self.step()

    def step(self) -> int:
        """Move for some of the pending changes, the oldest; return for how many."""
        for _ in range(ATTEMPTS):
            try:
                return self._step(self._value_keys.registrations())
            except StaleRegistrationsError:
                self._value_keys.clear()
        raise Unavailable("properties come and go", "REGISTRATIONS_CHANGE")

    def _step(self, registrations: Registrations) -> int:
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_LOCK, {"storing": STORING_LOCK})
            rows = cursor.execute(_PENDING).fetchall()
            changes = first_alike([Change(row[0], ChangeKind(row[1]), *row[2:]) for row in rows])
            if changes:
                self._move(cursor, changes, registrations)
        return len(changes)

    def _is_pending(self, position: int) -> bool:
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            return cursor.execute(_IS_PENDING, {"position": position}).fetchone() is not None

    def _move(
        self, cursor: "Cursor[tuple[Any, ...]]", changes: list[Change], registrations: Registrations
    ) -> None:
        from_keys = [change.from_key for change in changes]
        to_keys = [change.to_key for change in changes if change.to_key]
        parameters = {
            "from_keys": from_keys,
            "to_keys": to_keys,
            "with_properties": bool(registrations.properties),
        }
        statement = _STATEMENTS[_name(changes[0])]
        gone, *kept = cursor.execute(statement.encode(), parameters).fetchall()
        if gone[0]:
            left, left_values = self._groups(gone, registrations)
            came = [self._groups(row, registrations) for row in kept if row[0]]
            groups = Groups.join([left.negated(), *(each for each, _ in came)])
            by_value = [each for _, each in came if each is not None]
            if left_values is not None:
                by_value.append(left_values.negated())
            if not append(cursor, groups, Groups.join(by_value) if by_value else None, registrations.version):
                raise StaleRegistrationsError
            forget(cursor, groups.event_keys, groups.hours // 24)
            for correct in self._corrections:
                correct(cursor, sorted({*from_keys, *to_keys}))
        counts = _counts(gone[1], from_keys)
        cursor.execute(_DONE, {"positions": [change.position for change in changes], "events": counts})

    def _groups(self, row: tuple[Any, ...], registrations: Registrations) -> tuple[Groups, Groups | None]:
        """Return the groups of events, and those by value."""
        event_keys, user_keys = columns(row[:2], (">i4", ">i4"))
        [values] = columns(row[4:5], (">i8",))
        events = stored_events(event_keys, user_keys, unix_times(row[2]), row[3], values, self._calendar)
        documents = [b"" if text is None else text.encode() for text in row[5] or ()]
        rows = self._value_keys.rows(registrations, event_keys, documents)
        return group(events), value_groups(events, rows)


def first_alike(changes: list[Change]) -> list[Change]:
    """Return the changes at the beginning that one statement can do."""
    return list(takewhile(lambda change: _name(change) == _name(changes[0]), changes))


def _name(change: Change) -> str:
    if change.kind is ChangeKind.MERGE:
        return "merge"
    return "erase" if change.to_key is None else "anonymise"


def _counts(packed_keys: bytes | None, keys: list[int]) -> list[int]:
    """Return how many of the events each key had."""
    found: NDArray[np.int32]
    [found] = columns([packed_keys], (">i4",))
    counted = dict(zip(*(part.tolist() for part in np.unique(found, return_counts=True)), strict=True))
    return [counted.get(key, 0) for key in keys]
