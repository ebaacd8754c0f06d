"""Reads payments, and orders of matching events, from raw events: properties are in no roll-up."""

from typing import TYPE_CHECKING, Any

from services.events.reading import conditions
from services.events.reading.recurring import PAYMENTS_A_YEAR, Payment
from shared.calendar import MICROS, to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from services.events.domain import Condition

# Orders and sessions are told apart: an order may be called like a session.
_ORDERS = """
SELECT width_bucket(event_time, %(bounds)s::timestamptz[]) - 1 AS bucket,
       count(DISTINCT coalesce('o' || (properties ->> 'order_id'), 's' || session_id) COLLATE "C")
FROM event_types JOIN events USING (event_key)
WHERE category = 'revenue' AND event_time >= %(start_time)s AND event_time < %(end_time)s {conditions}
GROUP BY bucket
"""

# The first condition is that of the index events_billing_interval_idx.
_PAYMENTS = """
SELECT user_key, coalesce(properties ->> 'subscription_id', '') COLLATE "C" AS subscription_id,
       (extract(epoch FROM event_time) * 1000000)::int8, value, properties ->> 'billing_interval'
FROM events JOIN event_types USING (event_key)
WHERE properties ? 'billing_interval' AND event_time >= %(start_time)s AND event_time < %(end_time)s
  AND category = 'revenue' AND value >= 0
  AND properties ->> 'billing_interval' = ANY(%(billing_intervals)s::text[]) {conditions}
ORDER BY user_key, subscription_id, event_time, event_id
"""

# A payment for a year may be this old and still not have ended.
_LONGEST_MICROS = 367 * 86_400 * MICROS


def order_counts(
    engine: "Engine", buckets: "Sequence[tuple[int, int]]", wanted: "tuple[Condition, ...]"
) -> list[int]:
    """Return how many different orders each bucket's matching revenue is of; buckets follow without gaps."""
    clauses, values = conditions.to_sql(wanted)
    parameters = values | {
        "bounds": [to_datetime_utc(start) for start, _ in buckets],
        "start_time": to_datetime_utc(buckets[0][0]),
        "end_time": to_datetime_utc(buckets[-1][1]),
    }
    rows = _fetched(engine, _ORDERS.format(conditions=clauses), parameters)
    counts = dict(rows)
    return [counts.get(bucket, 0) for bucket in range(len(buckets))]


def payments(engine: "Engine", span: tuple[int, int], wanted: "tuple[Condition, ...]") -> list[Payment]:
    """Return the payments that may be unexpired at some instant of a span, by subscription, then time."""
    clauses, values = conditions.to_sql(wanted)
    parameters = values | {
        "start_time": to_datetime_utc(span[0] - _LONGEST_MICROS),
        "end_time": to_datetime_utc(span[1]),
        "billing_intervals": list(PAYMENTS_A_YEAR),
    }
    rows = _fetched(engine, _PAYMENTS.format(conditions=clauses), parameters)
    return [Payment((user_key, name), *rest) for user_key, name, *rest in rows]


def _fetched(engine: "Engine", statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        return cursor.execute(statement.encode(), parameters).fetchall()
