"""SQL over the roll-ups of values: base, deltas and raw edges in one statement, as in statements.py.

Whether a property is served by roll-ups is part of the same snapshot: without a SERVING row the other rows
mean nothing.
"""

from typing import TYPE_CHECKING, Any

from services.events.reading.conditions import matches_sql, property_text_sql, type_parameters

if TYPE_CHECKING:
    from services.events.domain import Condition, Selection
    from services.events.reading.plan import Plan

# Kinds of rows beside those of statements.Kind.
SERVING = 5
# event_key: value key; slot: event key; events: a bit for each set of conditions met; bytes: value, event,
# category
VALUE = 6

# Roll-ups serve where the property is registered for all events, or for each of those asked for.
_WITH = """
WITH ready AS MATERIALIZED (
    SELECT generation, event FROM registered_properties
    WHERE path = %(group_path)s::text[] AND NOT is_overfull
      AND generation IN (SELECT generation FROM property_fills)
), serving AS MATERIALIZED (
    SELECT generation FROM ready WHERE event IS NULL
    UNION ALL
    SELECT generation FROM ready
    WHERE event = ANY(%(events)s::text[]) AND NOT EXISTS (SELECT FROM ready WHERE event IS NULL)
      AND (SELECT bool_and(asked IN (SELECT event FROM ready))
           FROM unnest(%(events)s::text[]) AS names(asked))
), chosen AS MATERIALIZED (
    SELECT * FROM (
        SELECT value_key, event_key, value_text, event, category, {matches} AS matches
        FROM property_values JOIN event_types USING (event_key)
        WHERE generation IN (SELECT generation FROM serving)
          AND (%(events)s::text[] IS NULL OR event = ANY(%(events)s::text[]))
          AND (%(categories)s::text[] IS NULL OR category = ANY(%(categories)s::text[]))
          AND (%(values)s::text[] IS NULL OR coalesce(value_text, '~') = ANY(%(values)s::text[]))
        OFFSET 0
    ) AS found WHERE matches <> 0
), pending AS MATERIALIZED (
    SELECT payload FROM value_deltas
    WHERE first_hour < %(last_hour)s AND last_hour >= %(first_hour)s AND EXISTS (SELECT FROM serving)
)
SELECT 5::int4, 0::int4, 0::int4, 0::int8, NULL::numeric, 0::int4, 0::int4, 0::int4, NULL::bytea
FROM serving
UNION ALL
SELECT 6, value_key, event_key, matches, NULL, 0, 0, 0,
       convert_to(coalesce(value_text, '~'), 'UTF8') || '\\x00'::bytea || convert_to(event, 'UTF8')
       || '\\x00'::bytea || convert_to(category, 'UTF8')
FROM chosen
UNION ALL
SELECT 4, 0, 0, 0, NULL, 0, 0, 0, payload FROM pending
"""

_DAY_SETS = """
SELECT 1, value_key, day, events, value_sum, known, people, actors, user_keys
FROM chosen JOIN value_days USING (value_key)
WHERE day >= %(first_day)s AND day < %(last_day)s
"""

_DAY_COUNTS = """
SELECT 1, value_key, CASE WHEN %(total)s THEN %(first_day)s ELSE day END AS slot,
       sum(events)::int8, sum(value_sum), 0, 0, 0, NULL::bytea
FROM chosen JOIN value_days USING (value_key)
WHERE day >= %(first_day)s AND day < %(last_day)s
GROUP BY value_key, slot
"""

# Each event of an edge is read once, whatever the number of values.
_RAW = """
SELECT 3, value_key, bucket, count(*), sum(stored.value), 0, 0, 0, string_agg(int4send(user_key), '')
FROM unnest(%(raw_starts)s::timestamptz[], %(raw_ends)s::timestamptz[], %(raw_buckets)s::int4[])
     AS sliver(start_time, end_time, bucket)
CROSS JOIN LATERAL (
    SELECT event_key AS key, user_key, value, coalesce({property}, '~') AS found FROM events
    WHERE event_key = ANY((SELECT array_agg(DISTINCT event_key) FROM chosen)::int4[])
      AND event_time >= start_time AND event_time < end_time
    OFFSET 0
) AS stored
JOIN chosen ON chosen.event_key = stored.key AND coalesce(chosen.value_text, '~') = stored.found
GROUP BY value_key, bucket
"""

_SPREAD_RAW = """
SELECT 3, value_key, bucket, count(*), sum(events.value), 0, 0, 0, string_agg(int4send(user_key), '')
FROM unnest(%(raw_starts)s::timestamptz[], %(raw_ends)s::timestamptz[], %(raw_buckets)s::int4[])
     AS sliver(start_time, end_time, bucket)
JOIN events ON event_time >= start_time AND event_time < end_time
JOIN chosen ON chosen.event_key = events.event_key
    AND coalesce(chosen.value_text, '~') = coalesce({property}, '~')
GROUP BY value_key, bucket
"""


def from_values(
    plan: "Plan",
    selection: "Selection",
    sets: "tuple[tuple[Condition, ...], ...]",
    *,
    users: bool,
    spread: bool = False,
) -> tuple[str, dict[str, Any]]:
    """Return the statement for a plan by days, and the parameters that follow from what is selected.

    The conditions of the sets are all about the property itself, those of the selection are left aside. With
    `spread`, for events that are distributed.
    """
    matches, parameters = matches_sql(sets, "value_text::jsonb")
    parts = [_WITH.format(matches=matches)]
    if plan.days[0] < plan.days[1]:
        parts.append(_DAY_SETS if users else _DAY_COUNTS)
    if plan.raw:
        parts.append((_SPREAD_RAW if spread else _RAW).format(property=property_text_sql("group_path")))
    return " UNION ALL ".join(parts), parameters | type_parameters(selection)
