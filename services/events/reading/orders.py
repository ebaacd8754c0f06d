"""How many different orders revenue is of: from sets of orders by hour that are kept with their revision.

A set is current while its revision is that of its hour's events, so nothing has to keep the sets in step:
hours without a current one are read from raw events, and a chore makes their sets anew.
"""

from bisect import bisect_right
from typing import TYPE_CHECKING, Any

import numpy as np

from services.events.distribution import Statement
from services.events.packed import columns, unix_times
from services.events.revision import mix64
from services.events.rollups.deltas import Groups
from services.events.sessions.store import SNAPSHOT
from shared.calendar import HOUR_MICROS
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from psycopg import Cursor
    from sqlalchemy import Engine

# Orders and sessions are told apart: an order may be called like a session. As 64-bit hashes two of a million
# orders are taken for one with a probability of 3 in 100 million.
_ORDER = "hashtextextended(coalesce('o' || (properties ->> 'order_id'), 's' || session_id) COLLATE \"C\", 0)"

# Rows: 0 the revision of an hour's folded events, 1 what waits to be folded, 2 a set, 3 which events count.
_KNOWN = """
WITH selected AS (SELECT event_key FROM event_types WHERE category = 'revenue')
SELECT 0, event_key, hour, revision, NULL::bytea FROM selected JOIN event_hours USING (event_key)
WHERE hour >= %(first_hour)s AND hour < %(last_hour)s
UNION ALL
SELECT 1, 0, 0, 0, payload FROM event_deltas
WHERE first_hour < %(last_hour)s AND last_hour >= %(first_hour)s
UNION ALL
SELECT 2, event_key, hour, revision, orders FROM selected JOIN order_hours USING (event_key)
WHERE hour >= %(first_hour)s AND hour < %(last_hour)s
UNION ALL
SELECT 3, event_key, 0, 0, NULL FROM selected
"""

_LOOK = f"""
SELECT event_key, hour, user_keys, ids, orders, times
FROM unnest(%(event_keys)s::int4[], %(hours)s::int4[]) AS wanted(event_key, hour)
CROSS JOIN LATERAL (
    SELECT string_agg(int4send(user_key), '') AS user_keys, string_agg(uuid_send(event_id), '') AS ids,
           string_agg(int8send({_ORDER}), '') AS orders, string_agg(timestamptz_send(event_time), '') AS times
    FROM events
    WHERE events.event_key = wanted.event_key
      AND event_time >= '1970-01-01 00:00+00'::timestamptz + make_interval(hours => hour)
      AND event_time < '1970-01-01 00:00+00'::timestamptz + make_interval(hours => hour + 1)
) AS stored
"""  # noqa: S608 - the expression is ours

# Hours without events are missing here.
_JOIN = f"""
SELECT wanted.event_key, hour, string_agg(int4send(user_key), '') AS user_keys,
       string_agg(uuid_send(event_id), '') AS ids, string_agg(int8send({_ORDER}), '') AS orders,
       string_agg(timestamptz_send(event_time), '') AS times
FROM unnest(%(event_keys)s::int4[], %(hours)s::int4[]) AS wanted(event_key, hour)
JOIN events ON events.event_key = wanted.event_key
    AND event_time >= '1970-01-01 00:00+00'::timestamptz + make_interval(hours => hour)
    AND event_time < '1970-01-01 00:00+00'::timestamptz + make_interval(hours => hour + 1)
GROUP BY wanted.event_key, hour
"""  # noqa: S608 - the expression is ours
_RAW = Statement(here=_LOOK, spread=_JOIN)

_STALE = """
SELECT event_key, hour FROM (
    SELECT event_key, hour, sum(events) OVER (ORDER BY hour DESC, event_key) - events AS before
    FROM event_types JOIN event_hours USING (event_key) LEFT JOIN order_hours USING (event_key, hour)
    WHERE category = 'revenue' AND hour < %(before_hour)s
      AND order_hours.revision IS DISTINCT FROM event_hours.revision
) AS stale WHERE before < %(maximum_events)s ORDER BY hour DESC, event_key LIMIT 5000
"""

_KEEP = """
INSERT INTO order_hours (event_key, hour, revision, orders)
SELECT * FROM unnest(%(event_keys)s::int4[], %(hours)s::int4[], %(revisions)s::int8[], %(orders)s::bytea[])
ORDER BY 1, 2
ON CONFLICT (event_key, hour) DO UPDATE SET revision = excluded.revision, orders = excluded.orders
"""

MAXIMUM_EVENTS = 100_000
_MODULUS, _SIGN = 2**64, 2**63

HourName = tuple[int, int]


def count_orders(engine: "Engine", buckets: "Sequence[tuple[int, int]]") -> list[int]:
    """Return how many different orders the revenue of each bucket is of; buckets follow without gaps."""
    starts = [start for start, _ in buckets]
    first, last = buckets[0][0], buckets[-1][1]
    hours = {"first_hour": first // HOUR_MICROS, "last_hour": -(-last // HOUR_MICROS)}
    found: list[list[NDArray[np.int64]]] = [[] for _ in buckets]
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        cursor.execute(SNAPSHOT)
        revisions, sets = _known(cursor.execute(_KNOWN, hours).fetchall())
        stale = []
        for name, revision in revisions.items():
            bucket = _whole_bucket(name[1], buckets, starts)
            if bucket is not None and sets.get(name, (None, b""))[0] == revision:
                found[bucket].append(np.frombuffer(sets[name][1], "<i8"))
            else:
                stale.append(name)
        raw = _raw(cursor, _RAW.of(connection), stale)
    for row in raw:
        [orders] = columns(row[4:5], (">i8",))
        times = unix_times(row[5])
        places = np.where(times < last, np.searchsorted(starts, times, side="right") - 1, -1)
        for bucket in np.unique(places[places >= 0]).tolist():
            found[bucket].append(orders[places == bucket])
    return [len(np.unique(np.concatenate(parts))) if parts else 0 for parts in found]


def refresh(engine: "Engine", before_hour: int, maximum_events: int = MAXIMUM_EVENTS) -> int:
    """Make the latest sets that are missing or out of date, of hours before one; return how many."""
    bounds = {"before_hour": before_hour, "maximum_events": maximum_events}
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        names = cursor.execute(_STALE, bounds).fetchall()
        rows = _raw(cursor, _RAW.of(connection), [(event_key, hour) for event_key, hour in names])
        if rows:
            cursor.execute(
                _KEEP,
                {
                    "event_keys": [row[0] for row in rows],
                    "hours": [row[1] for row in rows],
                    "revisions": [_revision(row) for row in rows],
                    "orders": [_set(row) for row in rows],
                },
            )
    return len(rows)


def _known(
    rows: "Iterable[tuple[Any, ...]]",
) -> tuple[dict[HourName, int], dict[HourName, tuple[int, bytes]]]:
    """Return the revision of each hour's events, and the sets with theirs."""
    revisions: dict[HourName, int] = {}
    sets: dict[HourName, tuple[int, bytes]] = {}
    event_keys: list[int] = []
    waiting: list[Groups] = []
    for kind, event_key, hour, revision, data in rows:
        if kind == 0:
            revisions[event_key, hour] = revision % _MODULUS
        elif kind == 1:
            waiting.append(Groups.unpack(data))
        elif kind == 2:  # noqa: PLR2004 - as the statement has it
            sets[event_key, hour] = revision % _MODULUS, data
        else:
            event_keys.append(event_key)
    for groups in waiting:
        wanted = np.isin(groups.event_keys, event_keys)
        parts = (groups.event_keys[wanted], groups.hours[wanted], groups.revisions[wanted])
        for event_key, hour, share in zip(*(part.tolist() for part in parts), strict=True):
            revisions[event_key, hour] = (revisions.get((event_key, hour), 0) + share) % _MODULUS
    return revisions, sets


def _whole_bucket(hour: int, buckets: "Sequence[tuple[int, int]]", starts: list[int]) -> int | None:
    """Return the bucket that a whole hour lies in, if it does."""
    begin, end = hour * HOUR_MICROS, (hour + 1) * HOUR_MICROS
    bucket = bisect_right(starts, begin) - 1
    return bucket if bucket >= 0 and end <= buckets[bucket][1] else None


def _raw(cursor: "Cursor[tuple[Any, ...]]", statement: str, names: list[HourName]) -> list[tuple[Any, ...]]:
    if not names:
        return []
    parameters = {"event_keys": [name[0] for name in names], "hours": [name[1] for name in names]}
    rows = cursor.execute(statement.encode(), parameters).fetchall()
    missing = set(names) - {row[:2] for row in rows}
    return rows + [(*name, None, None, None, None) for name in sorted(missing)]


def _revision(row: tuple[Any, ...]) -> int:
    """Return the revision of the very events that a set is made of, as it is stored."""
    users, words = columns(row[2:4], (">i4", ">u8"))
    shares = mix64(users, unix_times(row[5]), (words[::2], words[1::2]))
    return (int(shares.sum(dtype=np.uint64)) + _SIGN) % _MODULUS - _SIGN


def _set(row: tuple[Any, ...]) -> bytes:
    [orders] = columns(row[4:5], (">i8",))
    return np.unique(orders).astype("<i8").tobytes()
