"""Folding the deltas of values into their roll-ups by day, and sweeping away those of ended generations.

Both hold the row of rollup_state, as compaction does and for its reason.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from services.events import delta_tables
from services.events.rollups.compaction import MAXIMUM_BYTES, Statements, add
from services.events.rollups.deltas import Groups
from services.events.rollups.fold import fold
from shared.database import driver_cursor

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Engine

_LOCK = "SELECT FROM rollup_state FOR UPDATE SKIP LOCKED"

# While history is read, nothing is folded: it is the first of a generation's deltas, whatever was stored,
# moved or removed since. People who left are known of a delta alone, not of what it was folded into.
_IS_FILLING = """
SELECT EXISTS (
    SELECT FROM registered_properties WHERE generation IS NOT NULL AND NOT is_overfull AND NOT EXISTS (
        SELECT FROM property_fills WHERE property_fills.generation = registered_properties.generation
    )
)
"""

_KNOWN = "SELECT value_key FROM property_values WHERE value_key = ANY(%(keys)s::int4[])"

_READ = """
SELECT value_key, day, events, value_sum, 0, user_keys FROM value_days
JOIN unnest(%(keys)s::int4[], %(slots)s::int4[]) AS wanted(value_key, day) USING (value_key, day)
"""

_WRITE = """
INSERT INTO value_days (value_key, day, events, value_sum, known, people, actors, user_keys)
SELECT * FROM unnest(%(keys)s::int4[], %(slots)s::int4[], %(events)s::int8[], %(value_sums)s::numeric[],
    %(known)s::int4[], %(people)s::int4[], %(actors)s::int4[], %(user_keys)s::bytea[])
ON CONFLICT (value_key, day) DO UPDATE SET events = excluded.events, value_sum = excluded.value_sum,
    known = excluded.known, people = excluded.people, actors = excluded.actors, user_keys = excluded.user_keys
"""

_DELETE = """
DELETE FROM value_days USING unnest(%(keys)s::int4[], %(slots)s::int4[]) AS empty(value_key, day)
WHERE value_days.value_key = empty.value_key AND value_days.day = empty.day
"""

_ENDED = """
DELETE FROM property_values WHERE generation NOT IN (
    SELECT generation FROM registered_properties WHERE generation IS NOT NULL AND NOT is_overfull
) RETURNING value_key
"""

_SWEEP = (
    "DELETE FROM value_days WHERE value_key = ANY(%(keys)s::int4[])",
    """
    DELETE FROM property_fills WHERE generation NOT IN (
        SELECT generation FROM registered_properties WHERE generation IS NOT NULL
    )
    """,
)


def fold_values(engine: "Engine", maximum_bytes: int = MAXIMUM_BYTES) -> int:
    """Folds the oldest deltas of values in one transaction; return how many."""
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        if cursor.execute(_LOCK).fetchone() is None or cursor.execute(_IS_FILLING).fetchone() == (True,):
            return 0
        payloads = delta_tables.take(cursor, "value_deltas", maximum_bytes)
        if payloads:
            _merge(cursor, Groups.join(list(map(Groups.unpack, payloads))))
        return len(payloads)


def _merge(cursor: "Cursor[tuple[Any, ...]]", groups: Groups) -> None:
    keys = np.unique(groups.event_keys)
    # The values of a generation that has ended are swept away; nothing may bring them back.
    known = [key for (key,) in cursor.execute(_KNOWN, {"keys": keys.tolist()}).fetchall()]
    groups = groups.take(np.flatnonzero(np.isin(groups.event_keys, known)))
    added = [((key, day), rollup) for key, day, rollup in fold(groups, groups.days)]
    add(cursor, added, Statements(_READ, _WRITE, _DELETE))


def sweep(engine: "Engine") -> int:
    """Delete what belongs to no generation any more; return how many values it had."""
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        if cursor.execute(_LOCK).fetchone() is None:
            return 0
        keys = [key for (key,) in cursor.execute(_ENDED).fetchall()]
        for statement in _SWEEP:
            cursor.execute(statement.encode(), {"keys": keys})
        return len(keys)
