"""The dictionary of who: ids to integer keys and back. The only place that sees ids and keys together.

Ids are stored encrypted, found by a keyed hash. A bounded cache keeps the ids seen last in memory; it is
only a cache, any replica may have written what it lacks. It holds true up to a position of the identity log.
"""

from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, cast

from services.events.domain import UserKind, Who
from services.events.followed import Followed
from services.events.whereabouts import Whereabouts, hash_of, read_whereabouts, tombstone_of
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.encryption import EncryptedColumn

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Engine

    from services.events.domain import Change
    from shared.encryption import BlindIndex, Keyring

# Nobody is added while somebody is erased: either their row is there to be erased, or the tombstone is seen.
_LOCK = "SELECT pg_advisory_xact_lock_shared('users'::regclass::oid::bigint)"

# In the order of the arrays, one order for all writers: two that meet wait, and never for each other.
_ADD = """
INSERT INTO users (user_key, kind, who_hash, who_encrypted)
SELECT nextval(CASE kind WHEN 1 THEN 'known_user_keys' WHEN 2 THEN 'anonymous_user_keys'
               ELSE 'session_user_keys' END), kind, who_hash, who_encrypted
FROM unnest(%(kinds)s::int2[], %(hashes)s::bytea[], %(encrypted)s::bytea[], %(digests)s::bytea[],
            %(latest)s::timestamptz[])
     WITH ORDINALITY AS missing(kind, who_hash, who_encrypted, who_digest, latest, position)
WHERE NOT EXISTS (
    SELECT FROM tombstones WHERE tombstones.who_digest = missing.who_digest AND erased_time >= latest
)
ORDER BY position
ON CONFLICT ON CONSTRAINT users_kind_who_hash_key DO NOTHING
"""

STORED_IDS = EncryptedColumn("users", "user_key", "who_hash", "who_encrypted")
_READ = "SELECT user_key, kind, who_hash, who_encrypted FROM users WHERE user_key = ANY(%(keys)s::int4[])"

_MERGED = """
SELECT user_key, merged_into FROM users
WHERE user_key = ANY(%(keys)s::int4[]) AND merged_into IS NOT NULL
"""

_POSITION = """
SELECT coalesce((SELECT max(position) FROM identity_log), 0),
       (SELECT min(position) - 1 FROM identity_log WHERE pending)
"""

_FOREVER = 4_102_444_800_000_000  # 2100


class UserDictionary:
    """Finds, makes and reads keys."""

    def __init__(self, engine: "Engine", keyring: "Keyring", index: "BlindIndex", cache_size: int) -> None:
        self._engine = engine
        self._keyring = keyring
        self._index = index
        self._cache_size = cache_size
        self._cache: dict[Who, int] = {}
        # Of those in the cache who were erased before: when. In Unix µs.
        self._erased: dict[Who, int] = {}
        self._changing = Lock()
        self.followed = Followed()

    def keys(self, people: "Iterable[Who]", latest: "Mapping[Who, int] | None" = None) -> dict[Who, int]:
        """Return the own key of everybody, making those that are missing, in a transaction of its own.

        A key made for events that are then not stored stands for nobody in any count. Who was erased, and
        has no event after that (Unix µs; without `latest` they have), gets no key.
        """
        found, missing = self._cached(people)
        if missing:
            generation = self.begin()
            added = self._made(missing, latest or {})
            self._remember(added, generation)
            found |= {who: place.key for who, place in added.items() if place.key}
        return found

    def key_column(self, people: "Sequence[Who]", times: "Sequence[int]") -> list[int]:
        """Return the own key of each, as keys() does; quickly where all were seen lately.

        It is 0 for an event (of a Unix µs) of somebody who was erased after it.
        """
        found = list(map(self._cache.get, people))
        if None not in found and not self._erased:
            return cast("list[int]", found)
        latest: dict[Who, int] = {}
        for who, time in zip(people, times, strict=True):
            latest[who] = max(time, latest.get(who, time))
        keys, erased = self.keys(people, latest), self._erased
        return [
            0 if who in erased and time <= erased[who] else keys.get(who, 0)
            for who, time in zip(people, times, strict=True)
        ]

    def present_keys(self, people: list[Who]) -> dict[Who, int]:
        """Return the own keys of people of this moment, as the database has them; make those missing."""
        return {who: place.key for who, place in self._made(people, {}).items() if place.key}

    def known_keys(self, people: "Iterable[Who]") -> dict[Who, int]:
        """Return the keys of those who have one, merges followed, as the database has them now."""
        found = self.whereabouts(list(people))
        return {who: place.merged_into or place.key for who, place in found.items() if place.key}

    def whereabouts(self, people: list[Who]) -> dict[Who, Whereabouts]:
        """Return what the database knows of them now; those it never saw are left out."""
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            return read_whereabouts(cursor, self._index, people)

    def merged(self, keys: "Collection[int]") -> dict[int, int]:
        """Return into which keys those of the keys that were merged went, as the database has it now."""
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            return dict(cursor.execute(_MERGED, {"keys": list(keys)}).fetchall())

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
        with self._changing:
            self._clear()

    def begin(self) -> int:
        """Return the generation of what is about to be looked up; the log is followed from here on."""
        generation = self.followed.generation
        if self.followed.position is None:
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                position, settled = cursor.execute(_POSITION).fetchone() or (0, None)
            with self._changing:
                self.followed.start(position, position if settled is None else settled, generation)
        return generation

    def apply(self, changes: "Sequence[Change]", generation: int) -> None:
        """Follow changes of the identity log that were read in a generation."""
        if not changes:
            return
        with self._changing:
            if self.followed.generation != generation:  # they may be another database's
                return
            gone = self.followed.apply(changes)
            if gone:
                for who in [who for who, key in self._cache.items() if key in gone]:
                    self._forget(who)

    def _made(self, people: list[Who], latest: "Mapping[Who, int]") -> dict[Who, Whereabouts]:
        found = self.whereabouts(people)
        unknown = [who for who in people if who not in found or not found[who].key]
        if unknown:
            self._add(unknown, latest)
            found |= self.whereabouts(unknown)
        return found

    def _add(self, people: list[Who], latest: "Mapping[Who, int]") -> None:
        """Make keys for those who have none, except for the erased who have no event after that."""
        hashed = sorted(
            (who[0].value, hash_of(self._index, who), who[1], latest.get(who, _FOREVER)) for who in people
        )
        parameters = {
            "kinds": [kind for kind, *_ in hashed],
            "hashes": [who_hash for _, who_hash, *_ in hashed],
            "encrypted": [self._keyring.encrypt(text.encode(), who_hash) for _, who_hash, text, _ in hashed],
            "digests": [tombstone_of(self._index, who_hash) for _, who_hash, *_ in hashed],
            "latest": [to_datetime_utc(time) for *_, time in hashed],
        }
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute(_LOCK)
            cursor.execute(_ADD, parameters)

    def _cached(self, people: "Iterable[Who]") -> tuple[dict[Who, int], list[Who]]:
        look_up = self._cache.get
        found = {who: look_up(who, 0) for who in people}
        missing = [who for who, key in found.items() if not key]
        for who in missing:
            del found[who]
        return found, missing

    def _remember(self, found: "Mapping[Who, Whereabouts]", generation: int) -> None:
        with self._changing:
            if self.followed.generation != generation:  # some may be gone, and the log will not say so again
                return
            for who, place in found.items():
                if place.key:
                    self._cache[who] = place.key
                    if place.erased is not None:
                        self._erased[who] = place.erased
            self.followed.learn({p.key: p.merged_into for p in found.values() if p.key and p.merged_into})
            if len(self._cache) > self._cache_size:
                for who in list(islice(self._cache, len(self._cache) - self._cache_size // 2)):
                    self._forget(who)

    def _clear(self) -> None:
        self.followed.clear()
        self._cache.clear()
        self._erased.clear()

    def _forget(self, who: Who) -> None:
        self._cache.pop(who, None)
        self._erased.pop(who, None)
