"""Erasing people: their ids and records go, a keyed tombstone stays, so that late retries are refused."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.funnels.privacy.same_person import SamePerson
from shared import tombstone_table
from shared.audit import AuditEntry, record
from shared.database import driver_cursor
from shared.people import UserDictionary
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Connection, Engine

# Whoever records steps of these people meanwhile waits, and is refused then.
_HOLD = """
SELECT user_key FROM users
WHERE (kind, who_hash) IN (SELECT * FROM unnest(%(kinds)s::int2[], %(hashes)s::bytea[]))
ORDER BY user_key FOR UPDATE
"""


_NOBODY = """
INSERT INTO users (kind, who_hash, who_encrypted) VALUES (%(kind)s, %(who_hash)s, %(encrypted)s)
RETURNING user_key
"""

# Records that two ids of one person share become one.
_MOVE = """
INSERT INTO step_records (funnel_number, step_time, user_key, step)
SELECT DISTINCT funnel_number, step_time, %(nobody)s::int4, step FROM step_records
WHERE user_key = ANY(%(keys)s::int4[])
"""

_FORGET_RECORDS = "DELETE FROM step_records WHERE user_key = ANY(%(keys)s::int4[])"

_FORGET = "DELETE FROM users WHERE user_key = ANY(%(keys)s::int4[])"


@dataclass(frozen=True)
class Eraser:
    """Erases people, and remembers that they were."""

    engine: "Engine"
    users: UserDictionary
    same_person: SamePerson
    journal: Journal | None
    clock: Callable[[], int]

    def erase(self, who: Who, mode: ErasureMode, actor: str) -> Receipt:
        """Erase somebody with all their ids; somebody never seen leaves a tombstone alone."""
        now = self.clock()
        people = self.same_person.of(who)
        columns = self.users.columns(people)
        buried = [Tombstone(digest, now, mode) for digest in sorted(columns["digests"])]
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            keys = [key for (key,) in cursor.execute(_HOLD, columns).fetchall()]
            tombstone_table.bury(cursor, buried)
            rows = self._forget(cursor, keys, who[0], mode)
            _audit(connection, actor, f"{mode.name.lower()} user", {"ids": len(keys)})
            if self.journal is not None:
                self.journal.append(buried)
        return Receipt(now, {**rows, "tombstones": len(buried)})

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many of them said anything new, and how many ids went."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            new = tombstone_table.news(cursor, tombstones)
        if not new:
            return 0, 0
        ids = self.users.named_by({each.who_digest: each.mode for each in new})
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            tombstone_table.bury(cursor, new)
            for key, kind, mode in ids:  # each a person of their own
                self._forget(cursor, [key], kind, mode)
            details = {"tombstones": len(new), "ids": len(ids)}
            _audit(connection, actor, "apply tombstones", details)
        return len(new), len(ids)

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return tombstone_table.buried(cursor, after, limit)

    def _forget(
        self, cursor: "Cursor[tuple[Any, ...]]", keys: list[int], kind: PersonKind, mode: ErasureMode
    ) -> dict[str, int]:
        """Delete ids and what was recorded of them, or leave it to nobody; return rows by table."""
        if keys and mode is ErasureMode.ANONYMIZE:
            cursor.execute(_MOVE, {"keys": keys, "nobody": self._nobody(cursor, kind)})
        records = cursor.execute(_FORGET_RECORDS, {"keys": keys}).rowcount
        users = cursor.execute(_FORGET, {"keys": keys}).rowcount
        return {"users": users, "step_records": records}

    def _nobody(self, cursor: "Cursor[tuple[Any, ...]]", kind: PersonKind) -> int:
        """Return the key of a new person of a kind whose id says nothing."""
        name = f"anonymized-{uuid4().hex}"
        who_hash = self.users.hash_of((kind, name))
        encrypted = self.users.keyring.encrypt(name.encode(), who_hash)
        names = {"kind": kind.value, "who_hash": who_hash, "encrypted": encrypted}
        [(key,)] = cursor.execute(_NOBODY, names).fetchall()
        return int(key)


def _audit(connection: "Connection", actor: str, action: str, details: dict[str, int]) -> None:
    record(connection, AuditEntry(actor, action, "a person", details))
