"""Compaction: folding deltas into the roll-ups by hour and by day, in the background, by any replica.

Who folds locks the one row of rollup_state, and only in the next statement, with a new snapshot, takes deltas
and reads the roll-ups they belong to. Taking deltas with SKIP LOCKED instead would let two replicas fold
different deltas into the same roll-up, and one of them would be lost.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from services.events import delta_tables
from services.events.rollups.deltas import Groups
from services.events.rollups.fold import Rollup, fold, with_any_event
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from psycopg import Cursor
    from sqlalchemy import Engine

TABLE = "event_deltas"

_LOCK = "SELECT FROM rollup_state FOR UPDATE SKIP LOCKED"

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
_CHUNK = 2_000
_SIGN = 2**63


# Of what, and in which hour or day.
Name = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Statements:
    """How roll-ups of one table are read, written and deleted by `keys` and `slots`.

    A row that is read: key, slot, events, value_sum, revision, user keys.
    """

    read: str
    write: str
    delete: str


def compact(engine: "Engine", maximum_bytes: int = MAXIMUM_BYTES) -> int:
    """Folds the oldest deltas in one transaction.

    Returns:
        How many deltas were folded: 0 when there were none, or another replica is at it.

    """
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        if cursor.execute(_LOCK).fetchone() is None:
            return 0
        payloads = delta_tables.take(cursor, TABLE, maximum_bytes)
        if payloads:
            groups = Groups.join(list(map(Groups.unpack, payloads)))
            for (table, slot, revision, write), slots in zip(
                _TABLES, (groups.hours, groups.days), strict=True
            ):
                names = {"table": table, "slot": slot, "revision": revision}
                statements = Statements(_READ.format(**names), write, _DELETE.format(**names))
                _merge(cursor, groups, slots, statements)
        return len(payloads)


def _merge(
    cursor: "Cursor[tuple[Any, ...]]", groups: Groups, slots: "NDArray[Any]", statements: Statements
) -> None:
    add(cursor, sorted(with_any_event(fold(groups, slots)).items()), statements)


def add(
    cursor: "Cursor[tuple[Any, ...]]", added: "Sequence[tuple[Name, Rollup]]", statements: Statements
) -> None:
    """Add roll-ups to those that are stored; those without events go. The caller holds rollup_state."""
    for start in range(0, len(added), _CHUNK):
        rollups = dict(added[start : start + _CHUNK])
        rows = cursor.execute(statements.read.encode(), _names(rollups)).fetchall()
        for key, slot, events, value_sum, revision, users in rows:
            stored = Rollup(events, int(value_sum), revision, BitMap.deserialize(users))
            rollups[key, slot] = stored + rollups[key, slot]
        kept = {name: rollup for name, rollup in rollups.items() if rollup.events}
        empty = rollups.keys() - kept.keys()
        cursor.execute(statements.write.encode(), _names(kept) | _columns(list(kept.values())))
        if empty:
            cursor.execute(statements.delete.encode(), _names(empty))


def _names(names: "Iterable[Name]") -> dict[str, list[int]]:
    pairs = list(names)
    return {"keys": [key for key, _ in pairs], "slots": [slot for _, slot in pairs]}


def _columns(rollups: list[Rollup]) -> dict[str, list[Any]]:
    return {
        "events": [rollup.events for rollup in rollups],
        "value_sums": [rollup.value_sum for rollup in rollups],
        "revisions": [(rollup.revision + _SIGN) % (2 * _SIGN) - _SIGN for rollup in rollups],
        "known": [rollup.known for rollup in rollups],
        "people": [rollup.people for rollup in rollups],
        "actors": [len(rollup.users) for rollup in rollups],
        "user_keys": [rollup.users.serialize() for rollup in rollups],
    }
