"""Reads totals of sessions: what is folded, corrected by what waits: exact at all times."""

from typing import TYPE_CHECKING

import numpy as np

from services.events.sessions.pending import neighbours
from services.events.sessions.runs import GAP_MICROS, Runs
from services.events.sessions.totals import SLOT_MICROS, Totals, added, sums
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

# For statements that must see the same, being of one question.
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

# What ended more than a gap before the first bucket can neither begin in one nor reach one that does.
_READ = """
SELECT width_bucket(slot, %(bounds)s::int4[]) - 1 AS bucket, sum(sessions)::int8,
       sum(duration_micros)::numeric, sum(pages)::int8, sum(bounces)::int8, NULL::bytea
FROM session_slots WHERE slot >= %(first_slot)s AND slot < %(last_slot)s
GROUP BY bucket
UNION ALL
SELECT -1, 0, 0, 0, 0, payload FROM session_deltas WHERE last_time >= %(earliest)s
"""


def read_totals(engine: "Engine", buckets: "Sequence[tuple[int, int]]") -> list[Totals]:
    """Return the totals of the sessions that begin in each bucket.

    Args:
        engine: where to ask.
        buckets: [start, end) in Unix µs, one after the other without gaps, at whole quarters of an hour.

    """
    if not buckets:
        return []
    bounds = [start // SLOT_MICROS for start, _ in buckets]
    first, last = buckets[0][0], buckets[-1][1]
    parameters = {
        "bounds": bounds,
        "first_slot": bounds[0],
        "last_slot": last // SLOT_MICROS,
        "earliest": first - GAP_MICROS,
    }
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        cursor.execute(SNAPSHOT)
        rows = cursor.execute(_READ, parameters).fetchall()
        waiting = Runs.join([Runs.unpack(row[-1]) for row in rows if row[-1] is not None]).merged()
        waiting = waiting.take(waiting.ends >= first - GAP_MICROS)
        touched = neighbours(cursor, waiting)
    folded = {row[0]: Totals(row[1], int(row[2]), row[3], row[4]) for row in rows if row[-1] is None}
    corrected = added(
        folded, in_buckets(Runs.join([touched, waiting]).merged(), buckets), in_buckets(touched, buckets, -1)
    )
    return [corrected.get(bucket, Totals()) for bucket in range(len(buckets))]


def in_buckets(runs: Runs, buckets: "Sequence[tuple[int, int]]", sign: int = 1) -> dict[int, Totals]:
    """Return the totals of the sessions that begin in each bucket, by its number, times a sign."""
    starts = np.array([start for start, _ in buckets], np.int64)
    inside = runs.take((runs.starts >= starts[0]) & (runs.starts < buckets[-1][1]))
    return sums(inside, np.searchsorted(starts, inside.starts, side="right") - 1, sign)
