"""The identity log: which keys became whose, in one order that every replica follows.

Whoever stores events holds the identity lock in common with others and reads the log in the next statement;
whoever changes somebody's identity holds it alone until the change is committed. So an event is stored either
before the change, and moved by it, or under what the change says.
"""

from typing import TYPE_CHECKING, Any

from services.events.domain import Change, ChangeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor

    from services.events.users import UserDictionary

# In one statement with the lock, the log would be read as it was before the lock was granted.
_FOLLOW = """
SELECT pg_advisory_xact_lock_shared('users'::regclass::oid::bigint);
SELECT position, kind, from_key, to_key, pending FROM identity_log
WHERE position > {position} ORDER BY position
"""

# An ingest transaction that hangs must not make all others queue behind whoever waits for it here.
_LOCK = """
SET LOCAL lock_timeout = '2s';
SELECT pg_advisory_xact_lock('users'::regclass::oid::bigint);
SET LOCAL lock_timeout = 0
"""

_END = 2**62

_APPEND = """
INSERT INTO identity_log (kind, from_key, to_key)
SELECT kind, from_key, to_key
FROM unnest(%(kinds)s::int2[], %(from_keys)s::int4[], %(to_keys)s::int4[])
     WITH ORDINALITY AS changes(kind, from_key, to_key, place)
ORDER BY place
RETURNING position
"""


def follow(cursor: "Cursor[tuple[Any, ...]]", users: "UserDictionary") -> list[Change]:
    """Hold the identity lock in common and bring the dictionary up to date; one round trip.

    Returns:
        The merges whose events are not moved yet.

    """
    generation, settled = users.followed.generation, users.followed.settled
    if settled is None:  # all was forgotten a moment ago, and what was looked up will be again
        settled = _END
    with cursor.connection.cursor() as plain:  # two statements at once go only without parameters
        plain.execute(_FOLLOW.format(position=settled).encode())
        plain.nextset()
        changes = [
            Change(place, ChangeKind(kind), from_key, to_key, pending)
            for place, kind, from_key, to_key, pending in plain.fetchall()
        ]
    users.apply(changes, generation)
    return [change for change in changes if change.pending and change.kind is ChangeKind.MERGE]


def lock(cursor: "Cursor[tuple[Any, ...]]") -> None:
    """Hold the identity lock alone until the transaction ends, which should be milliseconds.

    Raises:
        psycopg.errors.LockNotAvailable: somebody stores events for longer than two seconds.

    """
    with cursor.connection.cursor() as plain:
        plain.execute(_LOCK.encode())


def append(cursor: "Cursor[tuple[Any, ...]]", changes: "Sequence[tuple[ChangeKind, int, int | None]]") -> int:
    """Append changes, (kind, from_key, to_key), at least one, under the lock; return the last position."""
    parameters = {
        "kinds": [kind.value for kind, _, _ in changes],
        "from_keys": [from_key for _, from_key, _ in changes],
        "to_keys": [to_key for _, _, to_key in changes],
    }
    positions: list[int] = [position for (position,) in cursor.execute(_APPEND, parameters).fetchall()]
    return max(positions)
