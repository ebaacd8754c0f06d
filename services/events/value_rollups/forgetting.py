"""Forgetting values that no event has any more: what an erased person's property said goes with their events.

A value's key may be in deltas that wait, and whoever stores events may be about to use it. So values go while
nobody folds and nobody stores events (registrations.py), and the version counts up: whoever knew their keys
has to look again.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.errors import LockNotAvailable

from services.events.rollups.deltas import Groups
from services.events.value_rollups.registrations import STORING_LOCK
from shared.database import driver_cursor

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Engine

# Of somebody's erasure that is not moved yet, nothing can be told.
_ERASED = """
SELECT coalesce(max(position), 0), coalesce(bool_or(pending), false) FROM identity_log
WHERE kind = 2 AND position > %(since)s
"""

_NOBODY_FOLDS = "SELECT FROM rollup_state FOR UPDATE SKIP LOCKED"

_NOBODY_STORES = (
    "SET LOCAL lock_timeout = '1s'",
    f"SELECT pg_advisory_xact_lock({STORING_LOCK})",
)

# A look into the index for each value, whatever the planner thinks of joins.
_WITHOUT_ROLLUPS = """
SELECT value_key FROM property_values
WHERE generation IN (SELECT generation FROM property_fills)
  AND (SELECT true FROM value_days WHERE value_days.value_key = property_values.value_key LIMIT 1) IS NULL
"""

_PENDING = "SELECT payload FROM value_deltas"

_FORGET = """
WITH forgotten AS (DELETE FROM property_values WHERE value_key = ANY(%(keys)s::int4[]))
UPDATE property_state SET version = version + 1
"""


def forget_values(engine: "Engine", since: int) -> int:
    """Forget the values that nobody has any more since people were erased.

    Args:
        engine: where.
        since: the position of the identity log that this function returned last; 0 at first.

    Returns:
        The position up to which there is nothing left to forget; `since` where somebody else is busy, or what
        erasures did is not folded yet: then call again.

    """
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        position, is_pending = cursor.execute(_ERASED, {"since": since}).fetchone() or (0, False)
        if is_pending or not position or cursor.execute(_NOBODY_FOLDS).fetchone() is None:
            return since
        found = _look(cursor)
        if found.unused:
            try:
                for statement in _NOBODY_STORES:
                    cursor.execute(statement.encode())
            except LockNotAvailable:
                connection.rollback()
                return since
            found = _look(cursor)
            cursor.execute(_FORGET, {"keys": sorted(found.unused)})
    return since if found.is_waiting else int(position)


@dataclass(frozen=True, slots=True)
class _Found:
    """Keys of values without any event; whether deltas wait that may leave more of them."""

    unused: set[int]
    is_waiting: bool


def _look(cursor: "Cursor[tuple[Any, ...]]") -> _Found:
    """Look at values first, then at deltas: a value that comes in between is not taken for unused."""
    keys = {key for (key,) in cursor.execute(_WITHOUT_ROLLUPS).fetchall()}
    pending: set[int] = set()
    has_left = False
    for (payload,) in cursor.execute(_PENDING):
        groups = Groups.unpack(payload)
        pending |= keys.intersection(groups.event_keys.tolist())
        has_left |= bool((groups.user_keys < 0).any())
    return _Found(keys - pending, has_left or bool(pending))
