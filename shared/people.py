"""People: what a service keeps of who somebody is. Ids are stored encrypted, found by a keyed hash.

The table `users` of a schema: user_key (identity), kind, who_hash, who_encrypted, and the constraint
users_kind_who_hash_key UNIQUE (kind, who_hash). Only here ids and keys are seen together.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from brain.events.v1 import events_pb2
from brain.events.v1.events_pb2 import UserReference

from shared.calendar import to_micros
from shared.database import driver_cursor
from shared.encryption import EncryptedColumn
from shared.errors import Aborted
from shared.packed_arrays import BYTEA16, INT2, PackedArray
from shared.tombstone_table import erased_times
from shared.validation import chosen, text
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from shared.encryption import BlindIndex, Keyring
    from shared.tombstones import ErasureMode
    from shared.validation import Violations

MAXIMUM_ID = 200
STORED_IDS = EncryptedColumn("users", "user_key", "who_hash", "who_encrypted")


_KINDS = {
    events_pb2.USER_KIND_USER: PersonKind.USER,
    events_pb2.USER_KIND_ANONYMOUS: PersonKind.ANONYMOUS,
    events_pb2.USER_KIND_SESSION: PersonKind.SESSION,
}
_NUMBERS = {kind: number for number, kind in _KINDS.items()}
# What is hashed of somebody, in front of their id.
_TEXTS = {kind: f"{kind.value}:" for kind in PersonKind}

_FIND = """
SELECT wanted.position, users.user_key
FROM unnest(%(kinds)b::int2[], %(hashes)b::bytea[]) WITH ORDINALITY AS wanted(kind, who_hash, position)
JOIN users ON users.kind = wanted.kind AND users.who_hash = wanted.who_hash
"""

# Who erases somebody waits for those who keep something about them.
_HOLD = f"{_FIND} ORDER BY users.user_key FOR KEY SHARE OF users"

# In the order of the arrays, one order for all writers: two that meet wait, and never for each other.
_ADD = """
INSERT INTO users (kind, who_hash, who_encrypted)
SELECT kind, who_hash, who_encrypted
FROM unnest(%(kinds)s::int2[], %(hashes)s::bytea[], %(encrypted)s::bytea[])
     WITH ORDINALITY AS missing(kind, who_hash, who_encrypted, position)
ORDER BY position
ON CONFLICT ON CONSTRAINT users_kind_who_hash_key DO NOTHING
"""

_READ = "SELECT user_key, kind, who_hash, who_encrypted FROM users WHERE user_key = ANY(%(keys)s::int4[])"

_PAGE = "SELECT user_key FROM users WHERE user_key > %(after)s ORDER BY user_key LIMIT %(limit)s"

_EVERYBODY = """
SELECT user_key, kind, who_hash FROM users WHERE user_key > %(after)s ORDER BY user_key LIMIT 100000
"""


def who_of(violations: "Violations", field: str, reference: UserReference) -> Who:
    """Return somebody; raise nothing, but add a violation for a kind or an id that is none."""
    name = text(violations, f"{field}.id", reference.id, maximum=MAXIMUM_ID)
    return chosen(violations, f"{field}.kind", reference.kind, _KINDS), name


def to_reference(who: Who) -> UserReference:
    """Return somebody as a message."""
    return UserReference(kind=_NUMBERS[who[0]], id=who[1])


@dataclass(frozen=True)
class UserDictionary:
    """Finds, makes and reads keys."""

    engine: "Engine"
    keyring: "Keyring"
    index: "BlindIndex"

    def hash_of(self, who: Who) -> bytes:
        """Return what somebody is found by."""
        return self.index.digest(f"{_TEXTS[who[0]]}{who[1]}")

    def tombstone_of(self, who_hash: bytes) -> bytes:
        """Return what is kept of somebody erased: keyed, so that without the key it leads nowhere."""
        return self.index.digest(f"erased:{who_hash.hex()}")

    def columns(self, people: "Sequence[Who]") -> dict[str, list[Any]]:
        """Return columns `kinds`, `hashes` and `digests`, to find people and their tombstones by."""
        hashes = [self.hash_of(who) for who in people]
        return {
            "kinds": [who[0].value for who in people],
            "hashes": hashes,
            "digests": [self.tombstone_of(each) for each in hashes],
        }

    def packed(self, people: "Sequence[Who]") -> dict[str, PackedArray]:
        """Return columns `kinds` (int2[]) and `hashes` (bytea[]), to look for many people by."""
        digest = self.index.digest
        hashes = b"".join([digest(f"{_TEXTS[kind]}{name}") for kind, name in people])
        return {
            "kinds": PackedArray(np.array([kind for kind, _ in people], np.int16), INT2),
            "hashes": PackedArray(np.frombuffer(hashes, "V16"), BYTEA16),
        }

    def find(self, connection: "Connection", people: "Iterable[Who]") -> dict[Who, int]:
        """Return the keys of those who have one, as a transaction sees them."""
        return self._found(connection, people, _FIND)

    def known_keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the keys of those who have one."""
        with self.engine.begin() as connection:
            return self.find(connection, people)

    def make(self, connection: "Connection", people: "Iterable[Who]") -> dict[Who, int]:
        """Return the key of everybody, making in a transaction those that are missing."""
        wanted = list(dict.fromkeys(people))
        found = self.find(connection, wanted)
        unknown = [who for who in wanted if who not in found]
        if unknown:
            hashed = sorted((who[0].value, self.hash_of(who), who[1]) for who in unknown)
            parameters = {
                "kinds": [kind for kind, _, _ in hashed],
                "hashes": [who_hash for _, who_hash, _ in hashed],
                "encrypted": [self.keyring.encrypt(name.encode(), who_hash) for _, who_hash, name in hashed],
            }
            with driver_cursor(connection) as cursor:
                cursor.execute(_ADD, parameters)
            found |= self.find(connection, unknown)
        return found

    def keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the key of everybody, making those that are missing, in a transaction of its own."""
        with self.engine.begin() as connection:
            return self.make(connection, people)

    def hold(self, connection: "Connection", people: "Iterable[Who]") -> dict[Who, int]:
        """Return what `make` does; nobody of them is erased until the transaction ends.

        Raise Aborted where somebody was erased meanwhile.
        """
        made = self.make(connection, people)
        held = self._found(connection, made, _HOLD)
        if held != made:
            raise Aborted("somebody was erased meanwhile", "CONFLICT")
        return held

    def erased(self, connection: "Connection", people: "Iterable[Who]") -> dict[Who, int]:
        """Return when people were erased, in Unix µs, of those who were."""
        digests = {self.tombstone_of(self.hash_of(who)): who for who in people}
        with driver_cursor(connection) as cursor:
            times = erased_times(cursor, list(digests))
        return {digests[digest]: to_micros(time) for digest, time in times.items()}

    def read(self, keys: "Collection[int]") -> dict[int, Who]:
        """Return who the keys stand for; unknown ones are left out."""
        with self.engine.begin() as connection:
            return self.read_in(connection, keys)

    def read_in(self, connection: "Connection", keys: "Collection[int]") -> dict[int, Who]:
        """Return what `read` does, as a transaction sees it."""
        with driver_cursor(connection) as cursor:
            rows = cursor.execute(_READ, {"keys": list(keys)}).fetchall()
        return {
            key: (PersonKind(kind), self.keyring.decrypt(encrypted, who_hash).decode())
            for key, kind, who_hash, encrypted in rows
        }

    def page(self, after: int, limit: int) -> list[int]:
        """Return keys behind a key, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return [key for (key,) in cursor.execute(_PAGE, {"after": after, "limit": limit}).fetchall()]

    def named_by(self, modes: "Mapping[bytes, ErasureMode]") -> list[tuple[int, PersonKind, "ErasureMode"]]:
        """Return whom tombstones (their digests) name: key, kind, mode.

        Looks through everybody, as only the tombstone can be made from what is stored of them.
        """
        found: list[tuple[int, PersonKind, ErasureMode]] = []
        after = 0
        while True:
            with self.engine.begin() as connection, driver_cursor(connection) as cursor:
                rows = cursor.execute(_EVERYBODY, {"after": after}).fetchall()
            if not rows:
                return found
            for key, kind, who_hash in rows:
                mode = modes.get(self.tombstone_of(who_hash))
                if mode is not None:
                    found.append((key, PersonKind(kind), mode))
            after = rows[-1][0]

    def _found(self, connection: "Connection", people: "Iterable[Who]", statement: str) -> dict[Who, int]:
        listed = list(people)
        with driver_cursor(connection) as cursor:
            rows = cursor.execute(statement.encode(), self.packed(listed)).fetchall()
        return {listed[position - 1]: key for position, key in rows}
