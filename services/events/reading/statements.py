"""SQL over roll-ups: base, deltas and raw slivers in one statement, so that answers are exact at all times.

Every part of a statement sees the same snapshot. Each row is: kind, event_key, slot, events, value_sum,
known, people, actors, bytes; what the slot and the bytes are depends on the kind.
"""

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.events.reading.plan import Plan


class Kind(IntEnum):
    """What a row is."""

    NAME = 0  # bytes: event NUL category
    DAY = 1  # slot: reporting day; bytes: bitmap, where it is needed
    HOUR = 2  # slot: UTC hour; bytes: bitmap, where it is needed
    RAW = 3  # slot: bucket; bytes: user keys as packed columns
    DELTA = 4  # bytes: packed groups


# The event types asked for. Their roll-ups, or those of any event (key 0) where nothing is left out.
_WITH = """
WITH selected AS (
    SELECT event_key, event, category FROM event_types
    WHERE (%(events)s::text[] IS NULL OR event = ANY(%(events)s::text[]))
      AND (%(categories)s::text[] IS NULL OR category = ANY(%(categories)s::text[]))
), keys AS (
    SELECT event_key FROM selected WHERE NOT %(any_event)s UNION ALL SELECT 0 WHERE %(any_event)s
), pending AS MATERIALIZED (
    SELECT first_hour, last_hour, payload FROM event_deltas
    WHERE first_hour < %(last_hour)s AND last_hour >= %(first_hour)s
)
"""

_NAMES = """
SELECT 0::int4, event_key, 0::int4, 0::int8, NULL::numeric, 0::int4, 0::int4, 0::int4,
       convert_to(event, 'UTF8') || '\\x00'::bytea || convert_to(category, 'UTF8')
FROM selected
"""

_DELTAS = "SELECT 4, 0, 0, 0, NULL, 0, 0, 0, payload FROM pending"

# A bitmap is sent where sets are wanted anyway, or where a delta may add to the slot. A reporting day begins
# up to 14 hours before or after the UTC day of its number.
_DAY_SETS = """
SELECT 1, event_key, day, events, value_sum, known, people, actors,
       CASE WHEN %(sets)s OR EXISTS (
           SELECT FROM pending WHERE first_hour < day * 24 + 48 AND last_hour >= day * 24 - 24
       ) THEN user_keys END
FROM keys JOIN event_days USING (event_key)
WHERE day >= %(first_day)s AND day < %(last_day)s
"""

_HOUR_SETS = """
SELECT 2, event_key, hour, events, value_sum, known, people, actors,
       CASE WHEN %(sets)s OR EXISTS (
           SELECT FROM pending WHERE first_hour <= hour AND last_hour >= hour
       ) THEN user_keys END
FROM unnest(%(hour_starts)s::int4[], %(hour_ends)s::int4[]) AS wanted(first, after)
CROSS JOIN keys JOIN event_hours USING (event_key)
WHERE hour >= first AND hour < after
"""

# Without sets, a total is summed where the rows are.
_DAY_COUNTS = """
SELECT 1, event_key, CASE WHEN %(total)s THEN %(first_day)s ELSE day END AS slot,
       sum(events)::int8, sum(value_sum), 0, 0, 0, NULL::bytea
FROM keys JOIN event_days USING (event_key)
WHERE day >= %(first_day)s AND day < %(last_day)s
GROUP BY event_key, slot
"""

_HOUR_COUNTS = """
SELECT 2, event_key, CASE WHEN %(total)s THEN first ELSE hour END AS slot,
       sum(events)::int8, sum(value_sum), 0, 0, 0, NULL::bytea
FROM unnest(%(hour_starts)s::int4[], %(hour_ends)s::int4[]) AS wanted(first, after)
CROSS JOIN keys JOIN event_hours USING (event_key)
WHERE hour >= first AND hour < after
GROUP BY event_key, slot
"""

# A look into the index for each sliver, all keys at once. Without OFFSET the planner makes it a join that
# compares every event with every sliver.
_RAW = """
SELECT 3, event_key, bucket, count(*), sum(value), 0, 0, 0, string_agg(int4send(user_key), '')
FROM unnest(%(raw_starts)s::timestamptz[], %(raw_ends)s::timestamptz[], %(raw_buckets)s::int4[])
     AS sliver(start_time, end_time, bucket)
CROSS JOIN LATERAL (
    SELECT event_key, user_key, value FROM events
    WHERE event_key = ANY((SELECT array_agg(event_key) FROM selected)::int4[])
      AND event_time >= start_time AND event_time < end_time
    OFFSET 0
) AS stored
GROUP BY event_key, bucket
"""

# The same as a join: `selected` goes to every shard.
_SPREAD_RAW = """
SELECT 3, event_key, bucket, count(*), sum(value), 0, 0, 0, string_agg(int4send(user_key), '')
FROM unnest(%(raw_starts)s::timestamptz[], %(raw_ends)s::timestamptz[], %(raw_buckets)s::int4[])
     AS sliver(start_time, end_time, bucket)
JOIN events ON event_time >= start_time AND event_time < end_time
JOIN selected USING (event_key)
GROUP BY event_key, bucket
"""

# Everything from raw events: for conditions that no roll-up knows of.
_ALL_RAW = """
SELECT 3, event_key, width_bucket(event_time, %(bounds)s::timestamptz[]) - 1 AS bucket, count(*), sum(value),
       0, 0, 0, string_agg(DISTINCT int4send(user_key), '')
FROM selected JOIN events USING (event_key)
WHERE event_time >= %(start_time)s AND event_time < %(end_time)s {conditions}
GROUP BY event_key, bucket
"""

# Everything from raw events, for several sets of conditions at once: `matches` has a bit for each. Without
# OFFSET it would be worked out again wherever it is used.
_SETS_RAW = """
SELECT bucket, count(*), sum(value),
       CASE WHEN %(users)s THEN string_agg(DISTINCT int4send(user_key), '') END, matches
FROM (
    SELECT width_bucket(event_time, %(bounds)s::timestamptz[]) - 1 AS bucket, user_key, value,
           {matches} AS matches
    FROM selected JOIN events USING (event_key)
    WHERE event_time >= %(start_time)s AND event_time < %(end_time)s
    OFFSET 0
) AS stored
WHERE matches <> 0
GROUP BY bucket, matches
"""


def from_rollups(plan: "Plan", *, users: bool, names: bool, spread: bool = False) -> str:
    """Return the statement for a plan; only with `users` can it say who did it, with `names` what.

    With `spread`, for events that are distributed.
    """
    parts = [_NAMES, _DELTAS] if names else [_DELTAS]
    if plan.days[0] < plan.days[1]:
        parts.append(_DAY_SETS if users else _DAY_COUNTS)
    if plan.hours:
        parts.append(_HOUR_SETS if users else _HOUR_COUNTS)
    if plan.raw:
        parts.append(_SPREAD_RAW if spread else _RAW)
    return _WITH + " UNION ALL ".join(parts)


def from_raw(conditions: str) -> str:
    """Return the statement that reads raw events, with conditions in SQL (each beginning with AND)."""
    return _WITH + " UNION ALL ".join((_NAMES, _ALL_RAW.format(conditions=conditions)))


def from_raw_sets(matches: str) -> str:
    """Return the statement that reads raw events, with the bits that tell which conditions each meets.

    Its rows: bucket, events, value_sum, user keys as a packed column where `users` is set, the bits.
    """
    return _WITH + _SETS_RAW.format(matches=matches)
