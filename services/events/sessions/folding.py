"""Folding: putting pending runs into the stored sessions, in the background, by any replica.

Who folds locks the one row of session_state, and only in the next statement, with a new snapshot, takes runs
and reads the sessions they touch; see rollups/compaction.py.
"""

from typing import TYPE_CHECKING, Any

from services.events import delta_tables
from services.events.sessions.pending import keyed, neighbours
from services.events.sessions.runs import Runs
from services.events.sessions.totals import Totals, added, by_slot, sums
from shared.database import driver_cursor
from shared.packed_arrays import INT4, INT8, PackedArray

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Engine

TABLE = "session_deltas"

_LOCK = "SELECT FROM session_state FOR UPDATE SKIP LOCKED"

_DELETE = """
DELETE FROM sessions
USING unnest(%(user_keys)b::int4[], %(session_hashes)b::int8[], %(starts)b::int8[])
      AS gone(user_key, session_hash, start_time)
WHERE sessions.user_key = gone.user_key AND sessions.session_hash = gone.session_hash
  AND sessions.start_time = gone.start_time
"""

_INSERT = """
INSERT INTO sessions (user_key, session_hash, start_time, end_time, events, pages)
SELECT * FROM unnest(%(user_keys)b::int4[], %(session_hashes)b::int8[], %(starts)b::int8[], %(ends)b::int8[],
                     %(events)b::int4[], %(pages)b::int4[])
"""

_ADD_TO_SLOTS = """
INSERT INTO session_slots (slot, sessions, duration_micros, pages, bounces)
SELECT * FROM unnest(%(slots)s::int4[], %(sessions)s::int8[], %(durations)s::int8[], %(pages)s::int8[],
                     %(bounces)s::int8[])
ON CONFLICT (slot) DO UPDATE SET sessions = session_slots.sessions + excluded.sessions,
    duration_micros = session_slots.duration_micros + excluded.duration_micros,
    pages = session_slots.pages + excluded.pages, bounces = session_slots.bounces + excluded.bounces
"""

MAXIMUM_BYTES = 4_000_000


def fold(engine: "Engine", maximum_bytes: int = MAXIMUM_BYTES) -> int:
    """Fold the oldest pending runs in one transaction.

    Returns:
        How many transactions' runs were folded: 0 when there were none, or another replica is at it.

    """
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        if cursor.execute(_LOCK).fetchone() is None:
            return 0
        payloads = delta_tables.take(cursor, TABLE, maximum_bytes)
        if payloads:
            runs = Runs.join(list(map(Runs.unpack, payloads))).merged()
            touched = neighbours(cursor, runs)
            replace(cursor, touched, Runs.join([touched, runs]).merged())
        return len(payloads)


def replace(cursor: "Cursor[tuple[Any, ...]]", gone: Runs, come: Runs) -> None:
    """Replace stored sessions by others, and keep the totals in step; the caller holds session_state."""
    if len(gone):
        cursor.execute(_DELETE, keyed(gone))
    if len(come):
        cursor.execute(
            _INSERT,
            keyed(come)
            | {
                "ends": PackedArray(come.ends, INT8),
                "events": PackedArray(come.events, INT4),
                "pages": PackedArray(come.pages, INT4),
            },
        )
    changes = added(sums(come, by_slot(come)), sums(gone, by_slot(gone), -1))
    changes = {slot: totals for slot, totals in changes.items() if totals != Totals()}
    if changes:
        cursor.execute(_ADD_TO_SLOTS, _slot_columns(changes))


def _slot_columns(changes: dict[int, Totals]) -> dict[str, list[int]]:
    totals = list(changes.values())
    return {
        "slots": list(changes),
        "sessions": [each.sessions for each in totals],
        "durations": [each.duration_micros for each in totals],
        "pages": [each.pages for each in totals],
        "bounces": [each.bounces for each in totals],
    }
