"""The dictionary of who: ids to integer keys and back. The only place that sees ids and keys together.

Ids are stored encrypted, found by a keyed hash. A bounded cache keeps the ids seen last in memory; it is
only a cache, any replica may have written what it lacks.
"""

from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, cast

from services.events.domain import UserKind, Who
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
INSERT INTO users (user_key, kind, who_hash, who_encrypted)
SELECT nextval(CASE kind WHEN 1 THEN 'known_user_keys' WHEN 2 THEN 'anonymous_user_keys'
               ELSE 'session_user_keys' END), kind, who_hash, who_encrypted
FROM unnest(%(kinds)s::int2[], %(hashes)s::bytea[], %(encrypted)s::bytea[])
     WITH ORDINALITY AS missing(kind, who_hash, who_encrypted, position)
ORDER BY position
ON CONFLICT ON CONSTRAINT users_kind_who_hash_key DO NOTHING
"""

_READ = "SELECT user_key, kind, who_hash, who_encrypted FROM users WHERE user_key = ANY(%(keys)s::int4[])"


class UserDictionary:
    """Finds, makes and reads keys."""

    def __init__(self, engine: "Engine", keyring: "Keyring", index: "BlindIndex", cache_size: int) -> None:
        self._engine = engine
        self._keyring = keyring
        self._index = index
        self._cache_size = cache_size
        self._cache: dict[Who, int] = {}
        self._evicting = Lock()

    def keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the key of everybody, making those that are missing, in a transaction of its own.

        A key made for events that are then not stored stands for nobody in any count.
        """
        found, missing = self._cached(people)
        if missing:
            added = self._find(missing)
            unknown = [who for who in missing if who not in added]
            if unknown:
                self._add(unknown)
                added |= self._find(unknown)
            self._remember(added)
            found |= added
        return found

    def key_column(self, people: "Sequence[Who]") -> list[int]:
        """Return the key of each, as keys() does; quickly where all were seen lately."""
        found = list(map(self._cache.get, people))
        if None in found:
            keys = self.keys(people)
            return [keys[who] for who in people]
        return cast("list[int]", found)

    def known_keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the keys of those who have one, as the database has them now."""
        return self._find(list(people))

    def read(self, keys: "Collection[int]") -> dict[int, Who]:
        """Return who the keys stand for; unknown ones are left out."""
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_READ, {"keys": list(keys)}).fetchall()
        return {
            key: (UserKind(kind), self._keyring.decrypt(encrypted, who_hash).decode())
            for key, kind, who_hash, encrypted in rows
        }

    def clear(self) -> None:
        """Forget every key."""
        self._cache.clear()

    def _cached(self, people: "Iterable[Who]") -> tuple[dict[Who, int], list[Who]]:
        look_up = self._cache.get
        found = {who: look_up(who, 0) for who in people}
        missing = [who for who, key in found.items() if not key]
        for who in missing:
            del found[who]
        return found, missing

    def _remember(self, keys: dict[Who, int]) -> None:
        self._cache.update(keys)
        if len(self._cache) > self._cache_size:
            with self._evicting:
                oldest = list(islice(self._cache, len(self._cache) - self._cache_size // 2))
                for who in oldest:
                    self._cache.pop(who, None)

    def _hash(self, who: Who) -> bytes:
        return self._index.digest(f"{who[0].value}:{who[1]}")

    def _find(self, people: list[Who]) -> dict[Who, int]:
        parameters = {
            "kinds": [who[0].value for who in people],
            "hashes": [self._hash(who) for who in people],
        }
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(_FIND, parameters).fetchall()
        return {people[position - 1]: key for position, key in rows}

    def _add(self, people: list[Who]) -> None:
        hashed = sorted((who[0].value, self._hash(who), who[1]) for who in people)
        parameters = {
            "kinds": [kind for kind, _, _ in hashed],
            "hashes": [who_hash for _, who_hash, _ in hashed],
            "encrypted": [self._keyring.encrypt(text.encode(), who_hash) for _, who_hash, text in hashed],
        }
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_ADD, parameters)
