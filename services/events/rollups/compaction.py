"""Compaction: folding deltas into the roll-ups by hour and by day, in the background, by any replica.

Who folds locks the one row of rollup_state, and only in the next statement, with a new snapshot, takes deltas
and reads the roll-ups they belong to. Taking deltas with SKIP LOCKED instead would let two replicas fold
different deltas into the same roll-up, and one of them would be lost.
"""

from typing import TYPE_CHECKING, Any

from pyroaring import BitMap
from sqlalchemy import text

from services.events.rollups.deltas import Groups
from services.events.rollups.fold import Rollup, fold, with_any_event
from shared.database import driver_cursor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from psycopg import Cursor
    from sqlalchemy import Engine

_WAITING = text("SELECT coalesce(sum(length(payload)), 0) FROM event_deltas")

_LOCK = "SELECT FROM rollup_state FOR UPDATE SKIP LOCKED"

# A bound in bytes keeps a fold's memory small whatever has piled up.
_TAKE = """
DELETE FROM event_deltas WHERE delta_id IN (
    SELECT delta_id FROM (
        SELECT delta_id, sum(length(payload)) OVER (ORDER BY delta_id) - length(payload) AS before
        FROM (SELECT delta_id, payload FROM event_deltas ORDER BY delta_id LIMIT 10000) AS oldest
    ) AS measured WHERE before < %(maximum_bytes)s
) RETURNING payload
"""

_READ = """
SELECT event_key, {slot}, events, value_sum, {revision}, user_keys
FROM {table}
JOIN unnest(%(keys)s::int4[], %(slots)s::int4[]) AS wanted(event_key, {slot}) USING (event_key, {slot})
"""

_WRITE_HOURS = """
INSERT INTO event_hours (event_key, hour, events, value_sum, revision, known, people, actors, user_keys)
SELECT * FROM unnest(%(keys)s::int4[], %(slots)s::int4[], %(events)s::int8[], %(value_sums)s::numeric[],
    %(revisions)s::int8[], %(known)s::int4[], %(people)s::int4[], %(actors)s::int4[], %(user_keys)s::bytea[])
ON CONFLICT (event_key, hour) DO UPDATE SET events = excluded.events, value_sum = excluded.value_sum,
    revision = excluded.revision, known = excluded.known, people = excluded.people, actors = excluded.actors,
    user_keys = excluded.user_keys
"""

_WRITE_DAYS = """
INSERT INTO event_days (event_key, day, events, value_sum, known, people, actors, user_keys)
SELECT * FROM unnest(%(keys)s::int4[], %(slots)s::int4[], %(events)s::int8[], %(value_sums)s::numeric[],
    %(known)s::int4[], %(people)s::int4[], %(actors)s::int4[], %(user_keys)s::bytea[])
ON CONFLICT (event_key, day) DO UPDATE SET events = excluded.events, value_sum = excluded.value_sum,
    known = excluded.known, people = excluded.people, actors = excluded.actors, user_keys = excluded.user_keys
"""

# A slot that everybody left.
_DELETE = """
DELETE FROM {table} WHERE (event_key, {slot}) IN (
    SELECT * FROM unnest(%(keys)s::int4[], %(slots)s::int4[])
)
"""

_TABLES = (
    ("event_hours", "hour", "revision", _WRITE_HOURS),
    ("event_days", "day", "0", _WRITE_DAYS),
)
MAXIMUM_BYTES = 6_000_000
# Roll-ups written in one statement.
CHUNK = 2_000
_SIGN = 2**63


def compact(engine: "Engine", maximum_bytes: int = MAXIMUM_BYTES) -> int:
    """Folds the oldest deltas in one transaction.

    Returns:
        How many deltas were folded: 0 when there were none, or another replica is at it.

    """
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        if cursor.execute(_LOCK).fetchone() is None:
            return 0
        payloads = cursor.execute(_TAKE, {"maximum_bytes": maximum_bytes}).fetchall()
        if payloads:
            groups = Groups.join([Groups.unpack(payload) for (payload,) in payloads])
            for (table, slot, revision, write), slots in zip(
                _TABLES, (groups.hours, groups.days), strict=True
            ):
                names = {"table": table, "slot": slot, "revision": revision}
                _merge(cursor, groups, slots, (_READ.format(**names), write, _DELETE.format(**names)))
        return len(payloads)


def waiting_bytes(engine: "Engine") -> int:
    """Return the size of the deltas that nobody has folded yet."""
    with engine.begin() as connection:
        return int(connection.execute(_WAITING).scalar_one())


def _merge(
    cursor: "Cursor[tuple[Any, ...]]", groups: Groups, slots: "NDArray[Any]", statements: tuple[str, str, str]
) -> None:
    read, write, delete = statements
    added = sorted(with_any_event(fold(groups, slots)).items())
    for start in range(0, len(added), CHUNK):
        rollups = dict(added[start : start + CHUNK])
        names = {"keys": [key for key, _ in rollups], "slots": [slot for _, slot in rollups]}
        for key, slot, events, value_sum, revision, users in cursor.execute(read, names).fetchall():
            stored = Rollup(events, int(value_sum), revision, BitMap.deserialize(users))
            rollups[key, slot] = stored + rollups[key, slot]
        empty = [name for name, rollup in rollups.items() if not rollup.events]
        for name in empty:
            del rollups[name]
        names = {"keys": [key for key, _ in rollups], "slots": [slot for _, slot in rollups]}
        cursor.execute(write, names | columns(list(rollups.values())))
        if empty:
            cursor.execute(delete, {"keys": [key for key, _ in empty], "slots": [slot for _, slot in empty]})


def columns(rollups: list[Rollup]) -> dict[str, list[Any]]:
    """Return the parameters of a statement that writes roll-ups."""
    return {
        "events": [rollup.events for rollup in rollups],
        "value_sums": [rollup.value_sum for rollup in rollups],
        "revisions": [(rollup.revision + _SIGN) % (2 * _SIGN) - _SIGN for rollup in rollups],
        "known": [rollup.known for rollup in rollups],
        "people": [rollup.people for rollup in rollups],
        "actors": [len(rollup.users) for rollup in rollups],
        "user_keys": [rollup.users.serialize() for rollup in rollups],
    }
