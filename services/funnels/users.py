"""The dictionary of people: ids to integer keys and back. The only place that sees ids and keys together.

Ids are stored encrypted, found by a keyed hash.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.funnels.domain import PersonKind, Who
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Engine

    from shared.encryption import BlindIndex, Keyring

_FIND = """
SELECT wanted.position, users.user_key
FROM unnest(%(kinds)s::int2[], %(hashes)s::bytea[]) WITH ORDINALITY AS wanted(kind, who_hash, position)
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

_PAGE = "SELECT user_key FROM users WHERE user_key > %(after)s ORDER BY user_key LIMIT %(limit)s"


@dataclass(frozen=True)
class UserDictionary:
    """Finds, makes and reads keys."""

    engine: "Engine"
    keyring: "Keyring"
    index: "BlindIndex"

    def hash_of(self, who: Who) -> bytes:
        """Return what somebody is found by."""
        return self.index.digest(f"{who[0].value}:{who[1]}")

    def tombstone_of(self, who_hash: bytes) -> bytes:
        """Return what is kept of somebody erased: keyed, so that without the key it leads nowhere."""
        return self.index.digest(f"erased:{who_hash.hex()}")

    def columns(self, people: "Sequence[Who]") -> dict[str, list[object]]:
        """Return columns `kinds`, `hashes` and `digests`, to find people and their tombstones by."""
        hashes = [self.hash_of(who) for who in people]
        return {
            "kinds": [who[0].value for who in people],
            "hashes": list(hashes),
            "digests": [self.tombstone_of(each) for each in hashes],
        }

    def known_keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the keys of those who have one."""
        listed = list(people)
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_FIND, self.columns(listed)).fetchall()
        return {listed[position - 1]: key for position, key in rows}

    def add(self, people: "Iterable[Who]") -> None:
        """Make the keys that are missing, in a transaction of its own."""
        listed = list(dict.fromkeys(people))
        known = self.known_keys(listed)
        missing = sorted((who[0].value, self.hash_of(who), who[1]) for who in listed if who not in known)
        if not missing:
            return
        parameters = {
            "kinds": [kind for kind, _, _ in missing],
            "hashes": [who_hash for _, who_hash, _ in missing],
            "encrypted": [self.keyring.encrypt(name.encode(), who_hash) for _, who_hash, name in missing],
        }
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_ADD, parameters)

    def read(self, keys: "Collection[int]") -> dict[int, Who]:
        """Return who the keys stand for; unknown ones are left out."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_READ, {"keys": list(keys)}).fetchall()
        return {
            key: (PersonKind(kind), self.keyring.decrypt(encrypted, who_hash).decode())
            for key, kind, who_hash, encrypted in rows
        }

    def page(self, after: int, limit: int) -> list[int]:
        """Return keys behind a key, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_PAGE, {"after": after, "limit": limit}).fetchall()
        return [key for (key,) in rows]
