"""Writing events: stage, insert what is new, and append the delta of what was really inserted.

Everything happens in one transaction, so that events and roll-ups are never out of step.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from services.events.calendar import HOUR_MICROS
from services.events.packed import POSTGRES_EPOCH_MICROS, columns
from services.events.revision import mix64
from services.events.rollups.deltas import Inserted, group

if TYPE_CHECKING:
    from psycopg import Cursor

    from services.events.rollups.cover import ReportingCalendar

# Made in each transaction, because behind a transaction pooler the session is never the same. Rows vanish at
# its end. No index, no WAL: a client that stops in the middle holds nothing that others want.
_STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_events (
    user_key int4, event_time timestamptz, event_id uuid, event_key int4, value int8, anonymous_key int4,
    session_id text, event_id_text text, page text, referrer text, user_agent text, properties jsonb
) ON COMMIT DELETE ROWS
"""

_COPY = "COPY staged_events FROM STDIN (FORMAT binary)"

# The order prevents deadlocks between overlapping batches, and keeps a batch's rows of one month together.
_INSERT = """
WITH inserted AS (
    INSERT INTO events (event_time, received_time, value, event_id, user_key, event_key, anonymous_key,
                        session_id, event_id_text, page, referrer, user_agent, properties)
    SELECT event_time, %(received)s, NULLIF(value, -9223372036854775808), event_id, user_key, event_key,
           NULLIF(anonymous_key, 0), session_id, event_id_text, page, referrer, user_agent, properties
    FROM staged_events
    ORDER BY date_trunc('month', event_time, 'UTC'), user_key, event_time, event_id
    ON CONFLICT DO NOTHING
    RETURNING user_key, event_time, event_id, event_key, value
)
SELECT string_agg(int4send(user_key), ''), string_agg(timestamptz_send(event_time), ''),
       string_agg(uuid_send(event_id), ''), string_agg(int4send(event_key), ''),
       string_agg(int8send(coalesce(value, -9223372036854775808)), '')
FROM inserted
"""

_DELTA = """
INSERT INTO event_deltas (first_hour, last_hour, payload) VALUES (%(first_hour)s, %(last_hour)s, %(payload)s)
"""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_FIELDS = 12
_FIXED = (
    ("user_key", ">i4"),
    ("event_time", ">i8"),
    ("event_id", "V16"),
    ("event_key", ">i4"),
    ("value", ">i8"),
    ("anonymous_key", ">i4"),
)
_HEAD = np.dtype(
    [("fields", ">i2")]
    + [part for name, kind in _FIXED for part in ((f"{name}_length", ">i4"), (name, kind))]
)


@dataclass(frozen=True, slots=True)
class Rows:
    """Columns of events ready to be stored.

    times are Unix microseconds; ids 16 bytes each, one after the other; values millionths or NO_VALUE;
    anonymous_keys 0 where there is none; tails the text columns as binary COPY wants them.
    """

    user_keys: NDArray[np.int32]
    times: NDArray[np.int64]
    ids: bytes
    event_keys: NDArray[np.int32]
    values: NDArray[np.int64]
    anonymous_keys: NDArray[np.int32]
    tails: list[bytes]

    def __len__(self) -> int:
        return len(self.tails)


def copy_data(rows: Rows) -> bytes:
    """Return the rows in PostgreSQL's binary COPY format."""
    heads = np.empty(len(rows), _HEAD)
    heads["fields"] = _FIELDS
    for name, kind in _FIXED:
        heads[f"{name}_length"] = np.dtype(kind).itemsize
    heads["user_key"] = rows.user_keys
    heads["event_time"] = rows.times - POSTGRES_EPOCH_MICROS
    heads["event_id"] = np.frombuffer(rows.ids, "V16")
    heads["event_key"] = rows.event_keys
    heads["value"] = rows.values
    heads["anonymous_key"] = rows.anonymous_keys
    fixed, size = heads.tobytes(), _HEAD.itemsize
    parts: list[bytes] = [_HEADER] * (2 * len(rows) + 2)
    parts[1:-1:2] = [fixed[start : start + size] for start in range(0, len(fixed), size)]
    parts[2:-1:2] = rows.tails
    parts[-1] = _TRAILER
    return b"".join(parts)


def insert(
    cursor: "Cursor[tuple[bytes | None, ...]]", rows: Rows, received: datetime, calendar: "ReportingCalendar"
) -> NDArray[np.void]:
    """Store the rows that are new and their delta; the caller commits.

    Returns:
        The identity (user key, time, id: 28 bytes, big-endian, PostgreSQL's epoch) of each row inserted.

    """
    cursor.execute(_STAGING)
    with cursor.copy(_COPY) as copy:
        copy.write(copy_data(rows))
    cursor.execute(_INSERT, {"received": received})
    row = cursor.fetchone()
    if row is None or row[0] is None:
        return np.empty(0, IDENTITY)
    user_keys, times, ids, event_keys, values = columns(row, (">i4", ">i8", "V16", ">i4", ">i8"))
    _append_delta(cursor, (user_keys, times + POSTGRES_EPOCH_MICROS, ids, event_keys, values), calendar)
    return identities(user_keys, times, ids)


def _append_delta(
    cursor: "Cursor[tuple[bytes | None, ...]]",
    stored: tuple[NDArray[Any], ...],
    calendar: "ReportingCalendar",
) -> None:
    user_keys, times, ids, event_keys, values = stored
    words = ids.view(">u8").astype(np.uint64).reshape(-1, 2)
    hours = (times // HOUR_MICROS).astype(np.int32)
    groups = group(
        Inserted(
            event_keys=event_keys,
            user_keys=user_keys,
            values=values,
            shares=mix64(user_keys, times, (words[:, 0], words[:, 1])),
            days=calendar.days_of(times),
            hours=hours,
        )
    )
    cursor.execute(
        _DELTA, {"first_hour": int(hours.min()), "last_hour": int(hours.max()), "payload": groups.pack()}
    )


IDENTITY = np.dtype([("user_key", ">i4"), ("time", ">i8"), ("id", "V16")])


def identities(user_keys: NDArray[Any], times: NDArray[Any], ids: NDArray[np.void]) -> NDArray[np.void]:
    """Return 28 comparable bytes for each event; times are microseconds since PostgreSQL's epoch."""
    result = np.empty(len(user_keys), IDENTITY)
    result["user_key"], result["time"], result["id"] = user_keys, times, ids
    return result
