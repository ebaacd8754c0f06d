"""Erasing people: a tombstone in place of what was predicted of them, or of who it was predicted of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from services.forecasting.users import UserDictionary, Who
from shared import audit
from shared.audit import AuditEntry
from shared.calendar import to_datetime_utc, to_micros
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone

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

_BURY = text("""
INSERT INTO tombstones (who_digest, erased_time, mode) VALUES (:digest, :erased, :mode)
ON CONFLICT (who_digest) DO UPDATE
SET erased_time = greatest(tombstones.erased_time, excluded.erased_time), mode = excluded.mode
""")

_BURIED = text("SELECT who_digest, erased_time FROM tombstones WHERE who_digest = ANY(:digests)")

_LIST = text("""
SELECT who_digest, erased_time, mode FROM tombstones
WHERE who_digest > :after ORDER BY who_digest LIMIT :limit
""")

_EVERYBODY = text(
    "SELECT user_key, who_hash FROM users WHERE user_key > :after ORDER BY user_key LIMIT 100000"
)


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
        buried = Tombstone(self.users.tombstone(who), now, mode)
        with self.engine.begin() as connection:
            _bury(connection, [buried])
            key = self.users.find(connection, who)
            rows = _forget(connection, [] if key is None else [key], mode)
            audit.record(connection, AuditEntry(actor, f"{mode.name.lower()} user", "a person", rows))
            if self.journal is not None:
                self.journal.append([buried])
        return Receipt(now, {**rows, "tombstones": 1})

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many of them said anything new, and how many ids went."""
        new = self._unknown(tombstones)
        if not new:
            return 0, 0
        keys = self._keys_of({each.who_digest: each.mode for each in new})
        erased = sum(map(len, keys.values()))
        with self.engine.begin() as connection:
            _bury(connection, new)
            for mode in ErasureMode:
                _forget(connection, keys[mode], mode)
            details = {"tombstones": len(new), "ids": erased}
            audit.record(connection, AuditEntry(actor, "apply tombstones", "people", details))
        return len(new), erased

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection:
            rows = connection.execute(_LIST, {"after": after, "limit": limit}).all()
        return [Tombstone(bytes(row[0]), to_micros(row[1]), ErasureMode(row[2])) for row in rows]

    def _unknown(self, tombstones: Sequence[Tombstone]) -> list[Tombstone]:
        with self.engine.begin() as connection:
            rows = connection.execute(_BURIED, {"digests": [each.who_digest for each in tombstones]})
            known = {bytes(row[0]): to_micros(row[1]) for row in rows}
        latest = {each.who_digest: each for each in sorted(tombstones, key=lambda each: each.erased)}
        return [each for digest, each in sorted(latest.items()) if known.get(digest, -1) < each.erased]

    def _keys_of(self, modes: dict[bytes, ErasureMode]) -> dict[ErasureMode, list[int]]:
        """Look through everybody, as only the tombstone can be made from what is stored of them."""
        keys: dict[ErasureMode, list[int]] = {mode: [] for mode in ErasureMode}
        after = 0
        while True:
            with self.engine.begin() as connection:
                rows = connection.execute(_EVERYBODY, {"after": after}).all()
            for key, who_hash in rows:
                mode = modes.get(self.users.tombstone_of(bytes(who_hash)))
                if mode is not None:
                    keys[mode].append(key)
            if not rows:
                return keys
            after = rows[-1][0]


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


def _bury(connection: "Connection", tombstones: Sequence[Tombstone]) -> None:
    for each in tombstones:
        parameters = {
            "digest": each.who_digest,
            "erased": to_datetime_utc(each.erased),
            "mode": each.mode.value,
        }
        connection.execute(_BURY, parameters)
