"""What the database knows of an id: its key, whose it became, when its person was erased."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.events.domain import Who
from shared.calendar import to_micros

if TYPE_CHECKING:
    from psycopg import Cursor

    from shared.encryption import BlindIndex

_FIND = """
SELECT wanted.position, users.user_key, users.merged_into, tombstones.erased_time
FROM unnest(%(kinds)s::int2[], %(hashes)s::bytea[], %(digests)s::bytea[])
     WITH ORDINALITY AS wanted(kind, who_hash, who_digest, position)
LEFT JOIN users ON users.kind = wanted.kind AND users.who_hash = wanted.who_hash
LEFT JOIN tombstones ON tombstones.who_digest = wanted.who_digest
WHERE users.user_key IS NOT NULL OR tombstones.erased_time IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """An id's own key (None: nobody now), the key it was merged into, and when it was last erased (µs)."""

    key: int | None
    merged_into: int | None = None
    erased: int | None = None


def hash_of(index: "BlindIndex", who: Who) -> bytes:
    """Return what somebody is found by."""
    return index.digest(f"{who[0].value}:{who[1]}")


def tombstone_of(index: "BlindIndex", who_hash: bytes) -> bytes:
    """Return what is kept of somebody erased: keyed, so that without the key it leads nowhere."""
    return index.digest(f"erased:{who_hash.hex()}")


def read_whereabouts(
    cursor: "Cursor[tuple[Any, ...]]", index: "BlindIndex", people: list[Who]
) -> dict[Who, Whereabouts]:
    """Return what is known of each; those nobody ever saw are left out."""
    hashes = [hash_of(index, who) for who in people]
    parameters = {
        "kinds": [who[0].value for who in people],
        "hashes": hashes,
        "digests": [tombstone_of(index, who_hash) for who_hash in hashes],
    }
    rows = cursor.execute(_FIND, parameters).fetchall()
    return {
        people[position - 1]: Whereabouts(key, merged_into, None if erased is None else to_micros(erased))
        for position, key, merged_into, erased in rows
    }
