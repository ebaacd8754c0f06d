"""Columns of a name's events of a UTC day, stored with the revision of the events they were made from.

They are good while the events have that revision, so nothing has to keep them in step: who reads asks for
the revision of now, and reads the events themselves where no columns have it.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray
    from psycopg import Cursor

# By whom and on which days: a name has an event key for each category it came with.
_FORGET = """
DELETE FROM stored_chunks USING event_types
     JOIN (SELECT DISTINCT * FROM unnest(%(event_keys)s::int4[], %(days)s::int4[])) AS changed(event_key, day)
          USING (event_key)
WHERE stored_chunks.event = event_types.event AND stored_chunks.day = changed.day
"""

_FORGET_BEFORE = "DELETE FROM stored_chunks WHERE day < %(day)s"

_READ = """
SELECT event, day, revision, user_keys, event_times, {amounts}
FROM stored_chunks
JOIN unnest(%(events)s::text[], %(days)s::int4[], %(revisions)s::int8[]) AS wanted(event, day, revision)
     USING (event, day, revision)
"""

_WRITE = """
INSERT INTO stored_chunks (event, day, revision, user_keys, event_times, amounts)
VALUES (%(event)s, %(day)s, %(revision)s, %(user_keys)s, %(event_times)s, %(amounts)s)
ON CONFLICT (event, day) DO UPDATE SET revision = excluded.revision, stored_time = excluded.stored_time,
    user_keys = excluded.user_keys, event_times = excluded.event_times, amounts = excluded.amounts
"""

# Nothing is lost where the last ones are: the events are there.
_WITHOUT_WAITING = "SET LOCAL synchronous_commit = off"

_SIGN = 2**63


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """The events of one name on one UTC day (since 1970-01-01), sorted by user key, then time.

    Columns are little-endian: user keys int32, times int64 (Unix µs), amounts int64 (millionths or NO_VALUE);
    None where no event has a value, or they were not asked for.
    """

    event: str
    day: int
    revision: int
    user_keys: bytes
    event_times: bytes
    amounts: bytes | None


def read_statement(*, with_amounts: bool) -> str:
    """Return the statement whose rows make stored chunks, by `names_of`."""
    return _READ.format(amounts="amounts" if with_amounts else "NULL::bytea")


def names_of(chunks: "Iterable[tuple[str, int, int]]") -> dict[str, list[Any]]:
    """Return parameters that name chunks by event, day and revision."""
    listed = list(chunks)
    return {
        "events": [event for event, _, _ in listed],
        "days": [day for _, day, _ in listed],
        "revisions": [signed(revision) for _, _, revision in listed],
    }


def signed(revision: int) -> int:
    """Return a revision, a number of 64 bits, as it is stored."""
    return (revision + _SIGN) % (2 * _SIGN) - _SIGN


def write(cursor: "Cursor[tuple[Any, ...]]", chunk: StoredChunk) -> None:
    """Store a chunk in place of what was stored of its name and day; it may be lost in a power cut."""
    cursor.execute(_WITHOUT_WAITING)
    cursor.execute(_WRITE, asdict(chunk) | {"revision": signed(chunk.revision)})


def forget(
    cursor: "Cursor[tuple[Any, ...]]", event_keys: "NDArray[np.int32]", days: "NDArray[np.int32]"
) -> None:
    """Delete what is stored of UTC days of events, pair by pair."""
    cursor.execute(_FORGET, {"event_keys": event_keys.tolist(), "days": days.tolist()})


def forget_before(cursor: "Cursor[tuple[Any, ...]]", day: int) -> None:
    """Delete what is stored of days before one."""
    cursor.execute(_FORGET_BEFORE, {"day": day})
