"""Erasing people: a tombstone in place of all that is held of them, or of all that says who they were."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from services.experiments.catalogue import Catalogue
from services.experiments.domain import PersonKind, Who
from services.experiments.lifecycle import store as experiments
from services.experiments.users import UserDictionary, tombstone_of
from shared import audit
from shared.audit import AuditEntry
from shared.calendar import to_datetime_utc, to_micros
from shared.database import driver_cursor
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone

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

_RENAME = "UPDATE users SET who_hash = %(hash)s, who_encrypted = %(encrypted)s WHERE user_key = %(key)s"

_BURY = """
INSERT INTO tombstones (who_digest, erased_time, mode)
SELECT * FROM unnest(%(digests)s::bytea[], %(times)s::timestamptz[], %(modes)s::int2[])
ON CONFLICT (who_digest) DO UPDATE
SET erased_time = greatest(tombstones.erased_time, excluded.erased_time), mode = excluded.mode
"""

_BURIED = "SELECT who_digest, erased_time FROM tombstones WHERE who_digest = ANY(%(digests)s::bytea[])"

_LIST = """
SELECT who_digest, erased_time, mode FROM tombstones
WHERE who_digest > %(after)s::bytea ORDER BY who_digest LIMIT %(limit)s
"""

_EVERYBODY = "SELECT user_key, who_hash FROM users WHERE user_key > %(after)s ORDER BY user_key LIMIT 100000"

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
        buried = [Tombstone(tombstone_of(self.users.index, who_hash), now, mode)]
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            experiments.take_turns(connection)
            row = cursor.execute(_FIND, {"hash": who_hash, "kind": who[0].value}).fetchone()
            rows = self._forget(connection, cursor, [row[0]] if row else [], mode)
            _bury(cursor, buried)
            audit.record(connection, AuditEntry(actor, f"{mode.name.lower()} user", "a person", rows))
            if self.journal is not None:
                self.journal.append(buried)
        self.catalogue.changed()
        return Receipt(now, {**rows, "tombstones": 1})

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many of them said anything new, and how many ids went."""
        new = self._unknown(tombstones)
        if not new:
            return 0, 0
        keys = self._keys_of({each.who_digest: each.mode for each in new})
        erased = sum(map(len, keys.values()))
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            experiments.take_turns(connection)
            for mode in ErasureMode:
                self._forget(connection, cursor, keys[mode], mode)
            _bury(cursor, new)
            details = {"tombstones": len(new), "ids": erased}
            audit.record(connection, AuditEntry(actor, "apply tombstones", "people", details))
        self.catalogue.changed()
        return len(new), erased

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_LIST, {"after": after, "limit": limit}).fetchall()
        return [Tombstone(digest, to_micros(erased), ErasureMode(mode)) for digest, erased, mode in rows]

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
        for key, kind in held:
            self._rename(cursor, key, PersonKind(kind))
        return {**_NOTHING, "conversions": renamed, "users": len(held)}

    def _rename(self, cursor: "Cursor[tuple[Any, ...]]", key: int, kind: PersonKind) -> None:
        """Give a key an id that says nothing, in place of who it was."""
        text = f"anonymized-{uuid4().hex}"
        who_hash = self.users.hash_of((kind, text))
        encrypted = self.users.keyring.encrypt(text.encode(), who_hash)
        cursor.execute(_RENAME, {"key": key, "hash": who_hash, "encrypted": encrypted})

    def _unknown(self, tombstones: Sequence[Tombstone]) -> list[Tombstone]:
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            digests = [each.who_digest for each in tombstones]
            known = dict(cursor.execute(_BURIED, {"digests": digests}).fetchall())
        latest = {each.who_digest: each for each in sorted(tombstones, key=lambda each: each.erased)}
        return [
            each
            for digest, each in sorted(latest.items())
            if digest not in known or to_micros(known[digest]) < each.erased
        ]

    def _keys_of(self, modes: dict[bytes, ErasureMode]) -> dict[ErasureMode, list[int]]:
        """Look through everybody, as only the tombstone can be made from what is stored of them."""
        keys: dict[ErasureMode, list[int]] = {mode: [] for mode in ErasureMode}
        after = 0
        while True:
            with self.engine.begin() as connection, driver_cursor(connection) as cursor:
                rows = cursor.execute(_EVERYBODY, {"after": after}).fetchall()
            for key, who_hash in rows:
                mode = modes.get(tombstone_of(self.users.index, who_hash))
                if mode is not None:
                    keys[mode].append(key)
            if not rows:
                return keys
            after = rows[-1][0]


def _bury(cursor: "Cursor[tuple[Any, ...]]", tombstones: Sequence[Tombstone]) -> None:
    parameters = {
        "digests": [each.who_digest for each in tombstones],
        "times": [to_datetime_utc(each.erased) for each in tombstones],
        "modes": [each.mode.value for each in tombstones],
    }
    cursor.execute(_BURY, parameters)
