"""Writing events: leave out what is stored, copy the rest in one fixed order, append what they add.

Everything happens in one transaction, so that events and roll-ups are never out of step. Copying straight
into events costs less than a staging table and ON CONFLICT; see docs/decisions/0005.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.events.distribution import Statement
from services.events.packed import POSTGRES_EPOCH_MICROS
from services.events.rollups.appending import append, stored_events
from services.events.rollups.deltas import NO_VALUE, group
from services.events.sessions import pending
from services.events.sessions.runs import Runs
from services.events.sessions.tails import session_columns
from services.events.value_rollups.registrations import STORING_LOCK, StaleRegistrationsError
from services.events.value_rollups.value_rows import NOTHING_REGISTERED, ValueRows, value_groups
from shared.calendar import to_micros
from shared.packed_arrays import INT4, TIMESTAMPTZ, UUID, PackedArray, with_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor

    from services.events.domain import Change
    from services.events.rollups.cover import ReportingCalendar

# As LATERAL, for a join may be planned as a scan of every partition. The first row, 0, is the lock of
# value_rollups/registrations.py.
_LOOK = """
SELECT length(pg_advisory_xact_lock_shared(%(lock)s::int8)::text)::int8
UNION ALL
SELECT sent.position
FROM unnest(%(user_keys)b::int4[], %(times)b::timestamptz[], %(ids)b::uuid[])
     WITH ORDINALITY AS sent(user_key, event_time, event_id, position)
CROSS JOIN LATERAL (
    SELECT FROM events
    WHERE events.user_key = sent.user_key AND events.event_time = sent.event_time
      AND events.event_id = sent.event_id LIMIT 1
) AS stored
"""

_JOIN = """
SELECT length(pg_advisory_xact_lock_shared(%(lock)s::int8)::text)::int8
UNION ALL
SELECT sent.position
FROM unnest(%(user_keys)b::int4[], %(times)b::timestamptz[], %(ids)b::uuid[])
     WITH ORDINALITY AS sent(user_key, event_time, event_id, position)
JOIN events USING (user_key, event_time, event_id)
"""
STORED = Statement(here=_LOOK, spread=_JOIN)

# A duplicate that another transaction commits between the look and the copy violates the primary key: the
# whole group is then tried again, and finds it stored.
_COPY = """COPY events (user_key, event_time, event_id, event_key, received_time, value, anonymous_key,
    session_id, event_id_text, page, referrer, user_agent, properties) FROM STDIN (FORMAT binary)"""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_FIELDS = 13
# The columns that every row has. Each field goes behind its length.
_FIXED = (
    ("user_key", ">i4"),
    ("event_time", ">i8"),
    ("event_id", "V16"),
    ("event_key", ">i4"),
    ("received_time", ">i8"),
)
_HEAD = np.dtype(
    [("fields", ">i2")]
    + [part for name, kind in _FIXED for part in ((f"{name}_length", ">i4"), (name, kind))]
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of events ready to be stored.

    times are Unix microseconds; ids 16 bytes each, one after the other; values millionths or NO_VALUE;
    anonymous_keys 0 where there is none; tails the text columns as binary COPY wants them; value_rows what
    they add to the roll-ups by value.
    """

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    ids: bytes
    event_keys: NDArray[np.int32]
    values: NDArray[np.int64]
    anonymous_keys: NDArray[np.int32]
    tails: list[bytes]
    value_rows: ValueRows = NOTHING_REGISTERED

    def __len__(self) -> int:
        return len(self.tails)

    def take(self, positions: NDArray[np.intp]) -> "Rows":
        """Return the rows at some positions, in their order."""
        return Rows(
            self.user_keys[positions],
            self.times[positions],
            np.frombuffer(self.ids, "V16")[positions].tobytes(),
            self.event_keys[positions],
            self.values[positions],
            self.anonymous_keys[positions],
            [self.tails[position] for position in positions.tolist()],
            self.value_rows.take(positions, len(self)),
        )

    def merged(self, current_keys: NDArray[np.int32]) -> "Rows":
        """Return the rows under current keys; those that had another keep it as their anonymous key."""
        if current_keys is self.user_keys:
            return self
        was_anonymous = current_keys != self.user_keys
        anonymous_keys = np.where(was_anonymous, self.user_keys, self.anonymous_keys)
        return replace(self, user_keys=current_keys, anonymous_keys=anonymous_keys)


def copy_data(rows: Rows, received: int) -> bytes:
    """Return the rows, received at a Unix microsecond, in PostgreSQL's binary COPY format."""
    heads = np.empty(len(rows), _HEAD)
    heads["fields"] = _FIELDS
    for name, kind in _FIXED:
        heads[f"{name}_length"] = np.dtype(kind).itemsize
    heads["user_key"] = rows.user_keys
    heads["event_time"] = rows.times - POSTGRES_EPOCH_MICROS
    heads["event_id"] = np.frombuffer(rows.ids, "V16")
    heads["event_key"] = rows.event_keys
    heads["received_time"] = received - POSTGRES_EPOCH_MICROS
    parts: list[bytes] = [_HEADER] * (4 * len(rows) + 2)
    parts[1:-1:4] = _cut(heads)
    parts[2:-1:4] = _nullable(rows.values, ">i8", rows.values != NO_VALUE)
    parts[3:-1:4] = _nullable(rows.anonymous_keys, ">i4", rows.anonymous_keys != 0)
    parts[4:-1:4] = rows.tails
    parts[-1] = _TRAILER
    return b"".join(parts)


def _cut(array: NDArray[Any]) -> list[bytes]:
    data, size = array.tobytes(), array.itemsize
    return [data[start : start + size] for start in range(0, len(data), size)]


def _nullable(column: NDArray[Any], kind: str, present: NDArray[np.bool_]) -> list[bytes]:
    """Return the fields of a column, NULL where it is not present."""
    if not present.any():
        return [_NULL] * len(column)
    return [
        field if is_there else _NULL
        for field, is_there in zip(_cut(with_lengths(column, kind)), present.tolist(), strict=True)
    ]


def insert(
    cursor: "Cursor[tuple[Any, ...]]",
    rows: Rows,
    received: datetime,
    calendar: "ReportingCalendar",
    moving: "Sequence[Change]" = (),
    look: str = STORED.here,
) -> NDArray[np.bool_]:
    """Store the rows that are new and what they add to roll-ups and sessions; the caller commits.

    Args:
        cursor: of the transaction.
        rows: under the keys that the identity log says.
        received: the server's clock.
        calendar: of the reporting days.
        moving: pending merges; an event of theirs may still be stored under its old key.
        look: the form of STORED that fits the database.

    Returns:
        Which rows were new; of rows that are the same event, the first.

    Raises:
        psycopg.errors.UniqueViolation: another transaction has stored one of them meanwhile; try again.
        StaleRegistrationsError: the value rows are of registrations that have changed; make new ones.

    """
    order, is_new = _sorted(rows)
    unique = order[is_new[order]]
    stored = _stored(cursor, rows, unique, moving, look)
    is_new[unique[stored]] = False
    chosen = np.delete(unique, stored)
    if len(chosen):
        added = rows.take(chosen)
        with cursor.copy(_COPY) as copy:
            copy.write(copy_data(added, to_micros(received)))
        _append_delta(cursor, added, calendar)
        pending.append(cursor, Runs.of_events(added.user_keys, added.times, *session_columns(added.tails)))
    return is_new


def _sorted(rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the order of months, users, times and ids, and which rows are the first of their event.

    One order for all writers prevents deadlocks, and keeps a batch's rows of one month together.
    """
    words = np.frombuffer(rows.ids, ">u8").reshape(-1, 2)
    months = rows.times.view("M8[us]").astype("M8[M]").view(np.int64)
    order = np.lexsort((words[:, 1], words[:, 0], rows.times, rows.user_keys, months))
    columns = (rows.user_keys[order], rows.times[order], words[order, 0], words[order, 1])
    repeats = np.logical_and.reduce([column[1:] == column[:-1] for column in columns])
    is_new = np.ones(len(rows), bool)
    is_new[order[1:][repeats]] = False
    return order, is_new


def _stored(
    cursor: "Cursor[tuple[Any, ...]]",
    rows: Rows,
    positions: NDArray[np.intp],
    moving: "Sequence[Change]",
    look: str,
) -> NDArray[np.intp]:
    """Return which of the positions hold events that are stored already."""
    looks, keys = _looks(rows.user_keys[positions], moving)
    sought = positions[looks]
    columns = {
        "lock": STORING_LOCK,
        "user_keys": PackedArray(keys, INT4),
        "times": PackedArray(rows.times[sought] - POSTGRES_EPOCH_MICROS, TIMESTAMPTZ),
        "ids": PackedArray(np.frombuffer(rows.ids, "V16")[sought], UUID),
    }
    found = cursor.execute(look.encode(), columns).fetchall()
    places = [position - 1 for (position,) in found if position]
    return np.unique(looks[np.array(places, np.intp)])


def _looks(
    user_keys: NDArray[np.int32], moving: "Sequence[Change]"
) -> tuple[NDArray[np.intp], NDArray[np.int32]]:
    """Return which rows to look for under which keys: their own, and those their history still has."""
    looks, keys = [np.arange(len(user_keys))], [user_keys]
    for change in moving:
        of_them = np.flatnonzero(user_keys == change.to_key)
        looks.append(of_them)
        keys.append(np.full(len(of_them), change.from_key, np.int32))
    return np.concatenate(looks), np.concatenate(keys)


def _append_delta(cursor: "Cursor[tuple[Any, ...]]", rows: Rows, calendar: "ReportingCalendar") -> None:
    events = stored_events(rows.event_keys, rows.user_keys, rows.times, rows.ids, rows.values, calendar)
    by_value = value_groups(events, rows.value_rows)
    if not append(cursor, group(events), by_value, rows.value_rows.version):
        raise StaleRegistrationsError
