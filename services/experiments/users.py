"""The dictionary of people: ids to integer keys and back. The only place that sees ids and keys together.

Ids are stored encrypted, found by a keyed hash.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from services.experiments.domain import PersonKind, Who
from shared.database import driver_cursor
from shared.packed_arrays import BYTEA16, INT2, PackedArray

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Engine

    from shared.encryption import BlindIndex, Keyring

_FIND = """
SELECT wanted.position, users.user_key
FROM unnest(%(kinds)b::int2[], %(hashes)b::bytea[]) WITH ORDINALITY AS wanted(kind, who_hash, position)
JOIN users ON users.kind = wanted.kind AND users.who_hash = wanted.who_hash
"""

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

# What is hashed of somebody, in front of their id.
_TEXTS = {kind: f"{kind.value}:" for kind in PersonKind}


def tombstone_of(index: "BlindIndex", who_hash: bytes) -> bytes:
    """Return what is kept of somebody erased: keyed, so that without the key it leads nowhere."""
    return index.digest(f"erased:{who_hash.hex()}")


@dataclass(frozen=True)
class UserDictionary:
    """Finds, makes and reads keys."""

    engine: "Engine"
    keyring: "Keyring"
    index: "BlindIndex"

    def hashes(self, people: "Sequence[Who]") -> dict[str, Any]:
        """Return columns `kinds` (int2[]) and `hashes` (bytea[]), for statements that look for people."""
        digest = self.index.digest
        hashes = b"".join([digest(f"{_TEXTS[kind]}{name}") for kind, name in people])
        return {
            "kinds": PackedArray(np.array([kind for kind, _ in people], np.int16), INT2),
            "hashes": PackedArray(np.frombuffer(hashes, "V16"), BYTEA16),
        }

    def known_keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the keys of those who have one."""
        listed = list(people)
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_FIND, self.hashes(listed)).fetchall()
        return {listed[position - 1]: key for position, key in rows}

    def keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the key of everybody, making those that are missing, in a transaction of its own."""
        wanted = list(dict.fromkeys(people))
        found = self.known_keys(wanted)
        unknown = [who for who in wanted if who not in found]
        if unknown:
            self._add(unknown)
            found |= self.known_keys(unknown)
        return found

    def read(self, keys: "Collection[int]") -> dict[int, Who]:
        """Return who the keys stand for; unknown ones are left out."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_READ, {"keys": list(keys)}).fetchall()
        return {
            key: (PersonKind(kind), self.keyring.decrypt(encrypted, who_hash).decode())
            for key, kind, who_hash, encrypted in rows
        }

    def hash_of(self, who: Who) -> bytes:
        """Return what somebody is found by."""
        return self.index.digest(f"{_TEXTS[who[0]]}{who[1]}")

    def _add(self, people: list[Who]) -> None:
        hashed = sorted((who[0].value, self.hash_of(who), who[1]) for who in people)
        parameters = {
            "kinds": [kind for kind, _, _ in hashed],
            "hashes": [who_hash for _, who_hash, _ in hashed],
            "encrypted": [self.keyring.encrypt(text.encode(), who_hash) for _, who_hash, text in hashed],
        }
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_ADD, parameters)
