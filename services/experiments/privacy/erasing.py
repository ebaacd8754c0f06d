"""Erasing people: a tombstone in place of all that is held of them, or of all that says who they were."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.experiments.catalogue import Catalogue
from services.experiments.lifecycle import store as experiments
from shared import audit, tombstone_table
from shared.audit import AuditEntry
from shared.database import driver_cursor
from shared.people import UserDictionary
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Connection, Engine

# Who assigns and tracks holds these rows in common until it is committed: what it stores is seen by the
# statements after this one, and what comes later finds nobody.
_HOLD = "SELECT user_key, kind FROM users WHERE user_key = ANY(%(keys)s::int4[]) ORDER BY user_key FOR UPDATE"
_FIND = "SELECT user_key FROM users WHERE who_hash = %(hash)s AND kind = %(kind)s"

_TAKES_PART = """
SELECT DISTINCT experiment_id FROM (
    SELECT experiment_id FROM assignments
    WHERE user_key = ANY(%(keys)s::int4[]) AND experiment_id = ANY(SELECT experiment_id FROM experiments)
    UNION ALL SELECT experiment_id FROM overrides WHERE user_key = ANY(%(keys)s::int4[])) AS either
"""

_DELETE = {
    "conversions": """
        DELETE FROM conversions
        WHERE experiment_id = ANY(%(experiments)s::int4[]) AND user_key = ANY(%(keys)s::int4[])
    """,
    "assignment_attributes": """
        DELETE FROM assignment_attributes
        WHERE experiment_id = ANY(%(experiments)s::int4[]) AND user_key = ANY(%(keys)s::int4[])
    """,
    "assignments": """
        DELETE FROM assignments
        WHERE experiment_id = ANY(%(experiments)s::int4[]) AND user_key = ANY(%(keys)s::int4[])
    """,
    "overrides": "DELETE FROM overrides WHERE user_key = ANY(%(keys)s::int4[])",
    "users": "DELETE FROM users WHERE user_key = ANY(%(keys)s::int4[])",
}

# Callers may have put anything into their conversion ids.
_RENAME_CONVERSIONS = """
UPDATE conversions SET conversion_id = 'anonymized-' || gen_random_uuid()
WHERE experiment_id = ANY(%(experiments)s::int4[]) AND user_key = ANY(%(keys)s::int4[])
"""

# A key of the events service may lead to who they were.
_UNLINK = "DELETE FROM event_identities WHERE user_key = ANY(%(keys)s::int4[])"

_RENAME = "UPDATE users SET who_hash = %(hash)s, who_encrypted = %(encrypted)s WHERE user_key = %(key)s"


_NOTHING = dict.fromkeys((*_DELETE, "tombstones"), 0)


@dataclass(frozen=True)
class Eraser:
    """Erases people, and remembers that they were."""

    engine: "Engine"
    users: UserDictionary
    catalogue: Catalogue
    journal: Journal | None
    clock: Callable[[], int]

    def erase(self, who: Who | None, mode: ErasureMode, actor: str) -> Receipt:
        """Erase somebody; one never seen leaves a tombstone alone, a session (None) not even that."""
        now = self.clock()
        if who is None:
            return Receipt(now, dict(_NOTHING))
        who_hash = self.users.hash_of(who)
        buried = [Tombstone(self.users.tombstone_of(who_hash), now, mode)]
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            experiments.take_turns(connection)
            row = cursor.execute(_FIND, {"hash": who_hash, "kind": who[0].value}).fetchone()
            rows = self._forget(connection, cursor, [row[0]] if row else [], mode)
            tombstone_table.bury(cursor, buried)
            audit.record(connection, AuditEntry(actor, f"{mode.name.lower()} user", "a person", rows))
            if self.journal is not None:
                self.journal.append(buried)
        self.catalogue.changed()
        return Receipt(now, {**rows, "tombstones": 1})

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many of them said anything new, and how many ids went."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            new = tombstone_table.news(cursor, tombstones)
        if not new:
            return 0, 0
        named = self.users.named_by({each.who_digest: each.mode for each in new})
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            experiments.take_turns(connection)
            for mode in ErasureMode:
                self._forget(connection, cursor, [key for key, _, of in named if of is mode], mode)
            tombstone_table.bury(cursor, new)
            details = {"tombstones": len(new), "ids": len(named)}
            audit.record(connection, AuditEntry(actor, "apply tombstones", "people", details))
        self.catalogue.changed()
        return len(new), len(named)

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return tombstone_table.buried(cursor, after, limit)

    def _forget(
        self, connection: "Connection", cursor: "Cursor[tuple[Any, ...]]", keys: list[int], mode: ErasureMode
    ) -> dict[str, int]:
        """Delete or rename; return rows by table. What replicas remember of these people goes too."""
        if not keys:
            return dict(_NOTHING)
        held = cursor.execute(_HOLD, {"keys": keys}).fetchall()
        part = [experiment for (experiment,) in cursor.execute(_TAKES_PART, {"keys": keys}).fetchall()]
        for experiment in part:
            experiments.touch(connection, experiment)
        parameters = {"keys": keys, "experiments": part}
        if mode is ErasureMode.ERASE:
            return {
                table: cursor.execute(statement.encode(), parameters).rowcount
                for table, statement in _DELETE.items()
            }
        renamed = cursor.execute(_RENAME_CONVERSIONS, parameters).rowcount
        cursor.execute(_UNLINK, parameters)
        for key, kind in held:
            self._rename(cursor, key, PersonKind(kind))
        return {**_NOTHING, "conversions": renamed, "users": len(held)}

    def _rename(self, cursor: "Cursor[tuple[Any, ...]]", key: int, kind: PersonKind) -> None:
        """Give a key an id that says nothing, in place of who it was."""
        text = f"anonymized-{uuid4().hex}"
        who_hash = self.users.hash_of((kind, text))
        encrypted = self.users.keyring.encrypt(text.encode(), who_hash)
        cursor.execute(_RENAME, {"key": key, "hash": who_hash, "encrypted": encrypted})
