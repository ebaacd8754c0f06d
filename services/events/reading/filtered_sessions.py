"""Sessions made of matching events alone, from raw events: no roll-up knows which of them match."""

from typing import TYPE_CHECKING, Any

from services.events.packed import columns, unix_times
from services.events.reading import conditions
from services.events.sessions.runs import GAP_MICROS, Runs
from services.events.sessions.store import SNAPSHOT, in_buckets
from services.events.sessions.totals import Totals
from shared.calendar import HOUR_MICROS, to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor
    from sqlalchemy import Engine

    from services.events.domain import Condition

_READ = """
SELECT string_agg(int4send(user_key), ''), string_agg(int8send(hashtextextended(session_id, 0)), ''),
       string_agg(int4send((page IS NOT NULL)::int4), ''), string_agg(timestamptz_send(event_time), '')
FROM events WHERE event_time >= %(start_time)s AND event_time < %(end_time)s {conditions}
"""

_OF_USERS = " AND user_key = ANY(%(user_keys)s::int4[])"

# How far behind the range unfinished sessions are followed at first; then twice as far, and so on.
_FIRST_STEP_MICROS = 6 * HOUR_MICROS


def read_filtered(
    engine: "Engine", buckets: "Sequence[tuple[int, int]]", wanted: "tuple[Condition, ...]"
) -> list[Totals]:
    """Return the totals of the sessions of matching events that begin in each bucket.

    Args:
        engine: where to ask.
        buckets: [start, end) in Unix µs, one after the other without gaps.
        wanted: the conditions that events must meet.

    """
    if not buckets:
        return []
    clauses, values = conditions.to_sql(wanted)
    first, reached = buckets[0][0], buckets[-1][1]
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        cursor.execute(SNAPSHOT)
        # A gap before the range tells which of its events continue sessions that began before it.
        runs = _runs(cursor, clauses, values, (first - GAP_MICROS, reached))
        step = _FIRST_STEP_MICROS
        while len(unfinished := _unfinished(runs, buckets, reached)):
            others = {"user_keys": sorted(set(unfinished.user_keys.tolist()))}
            more = _runs(cursor, clauses + _OF_USERS, values | others, (reached, reached + step))
            runs = Runs.join([runs, more]).merged()
            reached, step = reached + step, 2 * step
    totals = in_buckets(runs, buckets)
    return [totals.get(bucket, Totals()) for bucket in range(len(buckets))]


def _unfinished(runs: Runs, buckets: "Sequence[tuple[int, int]]", reached: int) -> Runs:
    """Return the sessions that count and may go on behind what has been read."""
    counts = (runs.starts >= buckets[0][0]) & (runs.starts < buckets[-1][1])
    return runs.take(counts & (runs.ends >= reached - GAP_MICROS))


def _runs(
    cursor: "Cursor[tuple[Any, ...]]", clauses: str, values: dict[str, Any], span: tuple[int, int]
) -> Runs:
    times = {"start_time": to_datetime_utc(span[0]), "end_time": to_datetime_utc(span[1])}
    found = cursor.execute(_READ.format(conditions=clauses).encode(), values | times).fetchone()
    *packed, stamps = found or (None, None, None, None)
    users, hashes, has_page = columns(packed, (">i4", ">i8", ">i4"))
    return Runs.of_events(users, unix_times(stamps), hashes, has_page.astype(bool))
