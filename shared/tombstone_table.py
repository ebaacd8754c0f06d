"""The table of tombstones, the same in every schema: who_digest, erased_time, mode."""

from typing import TYPE_CHECKING, Any

from shared.calendar import to_datetime_utc, to_micros
from shared.tombstones import ErasureMode, Tombstone

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from psycopg import Cursor

_BURY = """
INSERT INTO tombstones (who_digest, erased_time, mode)
SELECT * FROM unnest(%(digests)s::bytea[], %(times)s::timestamptz[], %(modes)s::int2[])
ON CONFLICT (who_digest) DO UPDATE
SET erased_time = greatest(tombstones.erased_time, excluded.erased_time), mode = excluded.mode
"""

_TIMES = "SELECT who_digest, erased_time FROM tombstones WHERE who_digest = ANY(%(digests)s::bytea[])"

_LIST = """
SELECT who_digest, erased_time, mode FROM tombstones
WHERE who_digest > %(after)s::bytea ORDER BY who_digest LIMIT %(limit)s
"""


def bury(cursor: "Cursor[tuple[Any, ...]]", tombstones: "Sequence[Tombstone]") -> None:
    """Keep tombstones; of one person the latest time counts."""
    parameters = {
        "digests": [each.who_digest for each in tombstones],
        "times": [to_datetime_utc(each.erased) for each in tombstones],
        "modes": [each.mode.value for each in tombstones],
    }
    cursor.execute(_BURY, parameters)


def buried(cursor: "Cursor[tuple[Any, ...]]", after: bytes, limit: int) -> list[Tombstone]:
    """Return tombstones behind a digest, in order."""
    rows = cursor.execute(_LIST, {"after": after, "limit": limit}).fetchall()
    return [Tombstone(digest, to_micros(erased), ErasureMode(mode)) for digest, erased, mode in rows]


def erased_times(cursor: "Cursor[tuple[Any, ...]]", digests: "Sequence[bytes]") -> dict[bytes, "datetime"]:
    """Return when those were erased who were."""
    return dict(cursor.execute(_TIMES, {"digests": list(digests)}).fetchall())


def news(cursor: "Cursor[tuple[Any, ...]]", tombstones: "Sequence[Tombstone]") -> list[Tombstone]:
    """Return what tombstones say that is not known yet, one a person, by digest."""
    latest = {each.who_digest: each for each in sorted(tombstones, key=lambda each: each.erased)}
    known = erased_times(cursor, list(latest))
    return [
        each
        for digest, each in sorted(latest.items())
        if digest not in known or to_micros(known[digest]) < each.erased
    ]
