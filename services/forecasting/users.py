"""Who predictions are about. Ids are stored encrypted and found by a keyed hash, only here."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.events.v1 import events_pb2
from sqlalchemy import text

from shared.calendar import to_micros
from shared.validation import text as checked_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy import Connection

    from shared.encryption import BlindIndex, Keyring
    from shared.validation import Violations

# Somebody: a kind as the contract numbers it, and an id.
Who = tuple[int, str]
KINDS = (events_pb2.USER_KIND_USER, events_pb2.USER_KIND_ANONYMOUS, events_pb2.USER_KIND_SESSION)
MAXIMUM_ID = 200

# Sorted by who asks, so that two writers that meet wait, and never for each other.
_ADD = text("""
INSERT INTO users (kind, who_hash, who_encrypted) VALUES (:kind, :who_hash, :encrypted)
ON CONFLICT ON CONSTRAINT users_kind_who_hash_key DO NOTHING
""")
_FIND = text("SELECT user_key FROM users WHERE kind = :kind AND who_hash = :who_hash")
# Who erases somebody waits for those who keep something about them, and these find nobody afterwards.
_HOLD = text("SELECT user_key FROM users WHERE kind = :kind AND who_hash = :who_hash FOR KEY SHARE")
_ERASED = text("SELECT who_digest, erased_time FROM tombstones WHERE who_digest = ANY(:digests)")
_READ = text("SELECT user_key, kind, who_hash, who_encrypted FROM users WHERE user_key = ANY(:keys)")


@dataclass(frozen=True)
class UserDictionary:
    """Finds, makes and reads keys."""

    keyring: "Keyring"
    index: "BlindIndex"

    def find(self, connection: "Connection", who: Who) -> int | None:
        """Return somebody's key, or None."""
        found = connection.execute(_FIND, {"kind": who[0], "who_hash": self.digest(who)}).scalar()
        return None if found is None else int(found)

    def keys(self, connection: "Connection", people: "Iterable[Who]") -> dict[Who, int]:
        """Return the key of everybody, making those that are missing; nobody is erased until the end."""
        hashed = sorted((who[0], self.digest(who), who) for who in set(people))
        found: dict[Who, int] = {}
        for kind, who_hash, who in hashed:
            key = self._held(connection, who)
            if key is None:
                encrypted = self.keyring.encrypt(who[1].encode(), who_hash)
                connection.execute(_ADD, {"kind": kind, "who_hash": who_hash, "encrypted": encrypted})
                key = self._held(connection, who)
                assert key is not None, "it was just made"
            found[who] = key
        return found

    def read(self, connection: "Connection", keys: "Collection[int]") -> dict[int, Who]:
        """Return who keys stand for."""
        rows = connection.execute(_READ, {"keys": list(keys)}) if keys else ()
        return {
            row.user_key: (
                row.kind,
                self.keyring.decrypt(bytes(row.who_encrypted), bytes(row.who_hash)).decode(),
            )
            for row in rows
        }

    def erased(self, connection: "Connection", people: "Iterable[Who]") -> dict[Who, int]:
        """Return when people were erased, in Unix microseconds, of those who were."""
        digests = {self.tombstone(who): who for who in people}
        rows = connection.execute(_ERASED, {"digests": list(digests)})
        return {digests[bytes(row[0])]: to_micros(row[1]) for row in rows}

    def _held(self, connection: "Connection", who: Who) -> int | None:
        found = connection.execute(_HOLD, {"kind": who[0], "who_hash": self.digest(who)}).scalar()
        return None if found is None else int(found)

    def tombstone(self, who: Who) -> bytes:
        """Return what is kept of somebody erased: keyed, so that without the key it leads nowhere."""
        return self.tombstone_of(self.digest(who))

    def tombstone_of(self, who_hash: bytes) -> bytes:
        """Return what is kept of somebody erased who was found by this hash."""
        return self.index.digest(f"erased:{who_hash.hex()}")

    def digest(self, who: Who) -> bytes:
        """Return the keyed hash somebody is found by."""
        return self.index.digest(f"{who[0]}:{who[1]}")


def who_of(violations: "Violations", field: str, reference: events_pb2.UserReference) -> Who:
    """Return somebody a request names."""
    if reference.kind not in KINDS:
        violations.add(f"{field}.kind", "is required" if not reference.kind else "has no such value")
    return reference.kind, checked_text(violations, f"{field}.id", reference.id, maximum=MAXIMUM_ID)


def to_reference(who: Who) -> events_pb2.UserReference:
    """Return somebody as a message."""
    reference = events_pb2.UserReference(id=who[1])
    reference.kind = who[0]  # type: ignore[assignment]  # a number of the enum, as stored
    return reference
