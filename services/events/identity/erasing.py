"""Erasing people: what says who they were goes at once, a tombstone in its place; their events follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.events.domain import ChangeKind, UserKind, Who
from services.events.identity.log import append, lock
from services.events.identity.merging import settle_about
from services.events.identity.moving import Mover
from services.events.whereabouts import hash_of, read_whereabouts, tombstone_of
from shared import tombstone_table
from shared.audit import AuditEntry, record
from shared.database import driver_cursor
from shared.encryption import BlindIndex, Keyring
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Connection, Engine

# The ids of people: their own, and those merged into them.
_IDS = """
SELECT user_key, kind, who_hash FROM users
WHERE user_key = ANY(%(keys)s::int4[]) OR merged_into = ANY(%(keys)s::int4[])
ORDER BY kind, user_key
"""

_ALL_IDS = "SELECT user_key, who_hash FROM users WHERE user_key > %(after)s ORDER BY user_key LIMIT 100000"


_NOBODY = """
INSERT INTO users (user_key, kind, who_hash, who_encrypted)
VALUES (nextval(CASE %(kind)s::int WHEN 1 THEN 'known_user_keys' WHEN 2 THEN 'anonymous_user_keys'
                ELSE 'session_user_keys' END), %(kind)s, %(who_hash)s, %(encrypted)s)
RETURNING user_key
"""

_FORGET_REQUESTS = """
DELETE FROM merge_requests
WHERE anonymous_key = ANY(%(keys)s::int4[]) OR user_key = ANY(%(keys)s::int4[])
"""

_FORGET = "DELETE FROM users WHERE user_key = ANY(%(keys)s::int4[])"

_MOVED = """
SELECT coalesce(sum(events), 0)::int8 FROM identity_log
WHERE kind = 2 AND from_key = ANY(%(keys)s::int4[])
"""


@dataclass(frozen=True)
class Eraser:
    """Erases people, and remembers that they were."""

    engine: "Engine"
    keyring: Keyring
    index: BlindIndex
    mover: Mover
    journal: Journal | None
    clock: Callable[[], int]

    def erase(self, who: Who, mode: ErasureMode, actor: str) -> Receipt:
        """Erase somebody with all their ids; somebody never seen leaves a tombstone alone."""
        now = self.clock()
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            lock(cursor)
            ids = self._ids(connection, cursor, who)
            hashes = {hash_of(self.index, who), *(who_hash for _, _, who_hash in ids)}
            buried = [Tombstone(tombstone_of(self.index, each), now, mode) for each in sorted(hashes)]
            tombstone_table.bury(cursor, buried)
            rows, position = self._forget(cursor, ids, mode)
            _audit(connection, actor, "EraseUser", {"ids": len(ids), "mode": mode.name.lower()})
            if self.journal is not None:
                self.journal.append(buried)
        self.mover.finish(position)
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            [events] = cursor.execute(_MOVED, {"keys": [key for key, _, _ in ids]}).fetchone() or (0,)
        return Receipt(now, {"events": events, **rows, "tombstones": len(buried)})

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many of them said anything new, and how many ids went."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            new = tombstone_table.news(cursor, tombstones)
        if not new:
            return 0, 0
        keys = self._keys_of({each.who_digest: each.mode for each in new})
        position = erased = 0
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            lock(cursor)
            tombstone_table.bury(cursor, new)
            for mode in ErasureMode:
                for key in keys[mode]:  # each a person of their own
                    ids = cursor.execute(_IDS, {"keys": [key]}).fetchall()
                    _, last = self._forget(cursor, ids, mode)
                    position, erased = max(position, last), erased + len(ids)
            _audit(connection, actor, "ApplyTombstones", {"tombstones": len(new), "ids": erased})
        self.mover.finish(position)
        return len(new), erased

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return tombstone_table.buried(cursor, after, limit)

    def _ids(
        self, connection: "Connection", cursor: "Cursor[tuple[Any, ...]]", who: Who
    ) -> list[tuple[Any, ...]]:
        """Return the ids of a person once all that was asked about them is decided.

        Nobody would know whose an anonymous id was that came with an id of theirs, once that id is gone.
        """
        key = self._current_key(cursor, who)
        while key is not None and settle_about(connection, cursor, key):
            key = self._current_key(cursor, who)  # an anonymous id may have become a user's
        return cursor.execute(_IDS, {"keys": [] if key is None else [key]}).fetchall()

    def _current_key(self, cursor: "Cursor[tuple[Any, ...]]", who: Who) -> int | None:
        place = read_whereabouts(cursor, self.index, [who]).get(who)
        return None if place is None else place.merged_into or place.key

    def _keys_of(self, modes: dict[bytes, ErasureMode]) -> dict[ErasureMode, list[int]]:
        """Look through everybody, as only the tombstone can be made from what is stored of them."""
        keys: dict[ErasureMode, list[int]] = {mode: [] for mode in ErasureMode}
        after = 0
        while True:
            with self.engine.begin() as connection, driver_cursor(connection) as cursor:
                rows = cursor.execute(_ALL_IDS, {"after": after}).fetchall()
            for key, who_hash in rows:
                mode = modes.get(tombstone_of(self.index, who_hash))
                if mode is not None:
                    keys[mode].append(key)
            if not rows:
                return keys
            after = rows[-1][0]

    def _forget(
        self, cursor: "Cursor[tuple[Any, ...]]", ids: "Sequence[tuple[Any, ...]]", mode: ErasureMode
    ) -> tuple[dict[str, int], int]:
        """Delete ids and log that their keys stand for nobody; return rows by table, and the position."""
        keys = [key for key, _, _ in ids]
        if not keys:
            return {"users": 0, "merge_requests": 0}, 0
        nobody = self._nobody(cursor, ids[0][1]) if mode is ErasureMode.ANONYMIZE else None
        position = append(cursor, [(ChangeKind.ERASE, key, nobody) for key in keys])
        requests = cursor.execute(_FORGET_REQUESTS, {"keys": keys}).rowcount
        cursor.execute(_FORGET, {"keys": keys})
        return {"users": len(keys), "merge_requests": requests}, position

    def _nobody(self, cursor: "Cursor[tuple[Any, ...]]", kind: int) -> int:
        """Return the key of a new person of a kind whose id says nothing."""
        text = f"anonymized-{uuid4().hex}"
        who_hash = hash_of(self.index, (UserKind(kind), text))
        encrypted = self.keyring.encrypt(text.encode(), who_hash)
        names = {"kind": kind, "who_hash": who_hash, "encrypted": encrypted}
        [key] = cursor.execute(_NOBODY, names).fetchone() or (0,)
        return int(key)


def _audit(connection: "Connection", actor: str, action: str, details: dict[str, int | str]) -> None:
    record(connection, AuditEntry(actor, action, "a person", details))
