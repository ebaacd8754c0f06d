"""Merging an anonymous id into a user, once: by request of an event that carries both, or of LinkUser."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.events.domain import ChangeKind
from services.events.identity.log import append, lock
from shared.audit import AuditEntry, record
from shared.database import driver_cursor
from shared.errors import Aborted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor
    from sqlalchemy import Connection, Engine

    from services.events.identity.moving import Mover

_REQUESTED = "SELECT FROM merge_requests WHERE NOT refused LIMIT 1"

# Whoever was erased since is not in users any more.
_READ = """
SELECT anonymous_key, merge_requests.user_key, anonymous.merged_into,
       anonymous.user_key IS NOT NULL AND known.user_key IS NOT NULL
FROM ({chosen}) AS merge_requests
LEFT JOIN users AS anonymous ON anonymous.user_key = anonymous_key
LEFT JOIN users AS known ON known.user_key = merge_requests.user_key
ORDER BY requested_time, place, anonymous_key, merge_requests.user_key
"""

_READ_OLDEST = _READ.format(
    chosen="SELECT * FROM merge_requests WHERE NOT refused ORDER BY requested_time, place LIMIT 500"
)

# All that decide whose the anonymous ids are that somebody's key was seen with.
_READ_ABOUT = _READ.format(
    chosen="""
    SELECT * FROM merge_requests WHERE NOT refused AND anonymous_key IN (
        SELECT anonymous_key FROM merge_requests
        WHERE NOT refused AND (user_key = %(key)s OR anonymous_key = %(key)s)
    )
    """
)

_SETTLED = """
DELETE FROM merge_requests USING unnest(%(anonymous_keys)s::int4[], %(user_keys)s::int4[])
    AS settled(anonymous_key, user_key)
WHERE merge_requests.anonymous_key = settled.anonymous_key AND merge_requests.user_key = settled.user_key
"""

_REFUSED = """
UPDATE merge_requests SET refused = true
WHERE anonymous_key = %(anonymous_key)s AND user_key = %(user_key)s
"""

_MERGED_INTO = """
UPDATE users SET merged_into = merges.to_key
FROM unnest(%(from_keys)s::int4[], %(to_keys)s::int4[]) AS merges(from_key, to_key)
WHERE users.user_key = merges.from_key
"""

_BOTH = """
SELECT user_key, merged_into FROM users WHERE user_key IN (%(anonymous_key)s, %(user_key)s)
"""

_EVENTS = "SELECT events FROM identity_log WHERE position = %(position)s"

# By whom what no caller asked for is done.
SERVICE = "events"


@dataclass(frozen=True, slots=True)
class Request:
    """An anonymous id to be merged into a user; into whom it is already; whether both are still there."""

    anonymous_key: int
    user_key: int
    merged_into: int | None
    exists: bool

    @property
    def pair(self) -> tuple[int, int]:
        """The two keys."""
        return self.anonymous_key, self.user_key


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of requests: pairs of (anonymous key, user key)."""

    merges: list[tuple[int, int]]
    refused: list[tuple[int, int]]
    # Neither: done before, or of people who are gone.
    void: list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Link:
    """What LinkUser did: events that moved; whether the two were one already; or whose the id is."""

    moved_events: int = 0
    already_linked: bool = False
    is_another_s: bool = False


def decide(requests: "Sequence[Request]") -> Decision:
    """Give each anonymous id to the first who asks."""
    decision = Decision([], [], [])
    owners: dict[int, int] = {}
    for request in requests:
        owner = owners.get(request.anonymous_key, request.merged_into)
        if not request.exists or owner == request.user_key:
            decision.void.append(request.pair)
        elif owner is None:
            owners[request.anonymous_key] = request.user_key
            decision.merges.append(request.pair)
        else:
            decision.refused.append(request.pair)
    return decision


class Merger:
    """Decides about merges; the mover moves the events."""

    def __init__(self, engine: "Engine", mover: "Mover") -> None:
        self._engine = engine
        self._mover = mover

    def settle(self) -> int:
        """Decide about some of the requests, the oldest; return how many that were."""
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            if cursor.execute(_REQUESTED).fetchone() is None:
                return 0
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            lock(cursor)
            return _settle(connection, cursor, cursor.execute(_READ_OLDEST).fetchall())

    def link(self, anonymous_key: int, user_key: int, actor: str) -> Link:
        """Merge, unless it is done or the anonymous id is another user's.

        Raises:
            Aborted: one of them was erased a moment ago.

        """
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            lock(cursor)
            both = dict(
                cursor.execute(_BOTH, {"anonymous_key": anonymous_key, "user_key": user_key}).fetchall()
            )
            if not both.keys() >= {anonymous_key, user_key}:
                raise Aborted("one of them was erased a moment ago", "CONFLICT")
            owner = both[anonymous_key]
            if owner == user_key:
                return Link(already_linked=True)
            if owner is not None:
                _audit_refusal(connection, actor, anonymous_key, user_key)
                return Link(is_another_s=True)
            position = _log_merges(cursor, [(anonymous_key, user_key)])
            _forget(cursor, [(anonymous_key, user_key)])
            record(connection, AuditEntry(actor, "LinkUser", f"key {user_key}", {"from": anonymous_key}))
        self._mover.finish(position)
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            [events] = cursor.execute(_EVENTS, {"position": position}).fetchone() or (0,)
        return Link(moved_events=events)


def settle_about(connection: "Connection", cursor: "Cursor[tuple[Any, ...]]", key: int) -> int:
    """Decide, under the identity lock, about the requests that concern a key; return how many that were."""
    return _settle(connection, cursor, cursor.execute(_READ_ABOUT, {"key": key}).fetchall())


def _settle(
    connection: "Connection", cursor: "Cursor[tuple[Any, ...]]", rows: "Sequence[tuple[Any, ...]]"
) -> int:
    decision = decide([Request(*row) for row in rows])
    if decision.merges:
        _log_merges(cursor, decision.merges)
    _forget(cursor, decision.merges + decision.void)
    for pair in decision.refused:
        cursor.execute(_REFUSED, {"anonymous_key": pair[0], "user_key": pair[1]})
        _audit_refusal(connection, SERVICE, *pair)
    return len(rows)


def _log_merges(cursor: "Cursor[tuple[Any, ...]]", pairs: list[tuple[int, int]]) -> int:
    position = append(cursor, [(ChangeKind.MERGE, *pair) for pair in pairs])
    cursor.execute(_MERGED_INTO, {"from_keys": [a for a, _ in pairs], "to_keys": [u for _, u in pairs]})
    return position


def _forget(cursor: "Cursor[tuple[Any, ...]]", pairs: list[tuple[int, int]]) -> None:
    if pairs:
        cursor.execute(
            _SETTLED, {"anonymous_keys": [a for a, _ in pairs], "user_keys": [u for _, u in pairs]}
        )


def _audit_refusal(connection: "Connection", actor: str, anonymous_key: int, user_key: int) -> None:
    subject = f"key {user_key}"
    entry = AuditEntry(actor, "LinkUser", subject, {"from": anonymous_key, "refused": "another user's"})
    record(connection, entry)
