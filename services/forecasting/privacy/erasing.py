"""Erasing people: a tombstone in place of what was predicted of them, or of who it was predicted of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from shared import audit, tombstone_table
from shared.audit import AuditEntry
from shared.database import driver_cursor
from shared.people import UserDictionary
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone
from shared.who import Who

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Who keeps predictions holds these rows in common until it is committed.
_HOLD = text("SELECT user_key FROM users WHERE user_key = ANY(:keys) ORDER BY user_key FOR UPDATE")

_ERASE = {
    "actuals": text("""
        DELETE FROM actuals USING predictions p
        WHERE p.prediction_id = actuals.prediction_id AND p.user_key = ANY(:keys)
    """),
    "predictions": text("DELETE FROM predictions WHERE user_key = ANY(:keys)"),
    "users": text("DELETE FROM users WHERE user_key = ANY(:keys)"),
}

# Callers may have put anything into ids, targets and features. Accuracies still count.
_ANONYMIZE = {
    "predictions": text("""
        UPDATE predictions SET user_key = NULL, features = NULL, check_time = NULL,
            prediction_id = 'anonymized/' || gen_random_uuid(), target = 'anonymized'
        WHERE user_key = ANY(:keys)
    """),
    "users": _ERASE["users"],
}


@dataclass(frozen=True)
class Eraser:
    """Erases people, and remembers that they were."""

    engine: "Engine"
    users: UserDictionary
    journal: Journal | None
    clock: Callable[[], int]

    def erase(self, who: Who, mode: ErasureMode, actor: str) -> Receipt:
        """Erase somebody; one never seen leaves a tombstone alone."""
        now = self.clock()
        buried = Tombstone(self.users.tombstone_of(self.users.hash_of(who)), now, mode)
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            tombstone_table.bury(cursor, [buried])
            key = self.users.find(connection, [who]).get(who)
            rows = _forget(connection, [] if key is None else [key], mode)
            audit.record(connection, AuditEntry(actor, f"{mode.name.lower()} user", "a person", rows))
            if self.journal is not None:
                self.journal.append([buried])
        return Receipt(now, {**rows, "tombstones": 1})

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many of them said anything new, and how many ids went."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            new = tombstone_table.news(cursor, tombstones)
        if not new:
            return 0, 0
        named = self.users.named_by({each.who_digest: each.mode for each in new})
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            tombstone_table.bury(cursor, new)
            for mode in ErasureMode:
                _forget(connection, [key for key, _, of in named if of is mode], mode)
            details = {"tombstones": len(new), "ids": len(named)}
            audit.record(connection, AuditEntry(actor, "apply tombstones", "people", details))
        return len(new), len(named)

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return tombstone_table.buried(cursor, after, limit)


def _forget(connection: "Connection", keys: Sequence[int], mode: ErasureMode) -> dict[str, int]:
    """Delete, or take away who it was; return rows by table."""
    rows = dict.fromkeys(_ERASE, 0)
    if keys:
        parameters = {"keys": list(keys)}
        connection.execute(_HOLD, parameters)
        statements = _ERASE if mode is ErasureMode.ERASE else _ANONYMIZE
        rows |= {
            table: connection.execute(statement, parameters).rowcount
            for table, statement in statements.items()
        }
    return rows
