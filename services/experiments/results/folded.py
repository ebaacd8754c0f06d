"""Totals as they are now: what is folded, and what was touched since counted afresh, in one snapshot.

A person's part in the sums is a function of what is kept of them alone, and whoever changes any of it notes
their key in the same transaction (triggers of migration 0002). So sums = those folded, minus what was folded
of the people noted, plus what counts of them now, whatever the changes were and in whatever order they came.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from services.experiments.results.totals import Sums, Totals
from shared.database import driver_cursor
from shared.packed_arrays import INT4, PackedArray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from psycopg import Cursor
    from sqlalchemy import Connection

    from services.experiments.domain import Experiment

# What counts of people, and what of them is folded. Their keys are a parameter: so the planner knows how many
# they are, and PostgreSQL 17 reads each page of an index once. Those of a join are looked up one by one.
FRESH = """
SELECT a.user_key, c.metric, a.variant, count(*) AS conversions, sum(c.value) AS total
FROM assignments a
JOIN conversions c ON c.experiment_id = a.experiment_id AND c.user_key = a.user_key
WHERE a.experiment_id = %(experiment)s
  AND a.user_key = ANY(%(keys)b::int4[]) AND c.user_key = ANY(%(keys)b::int4[])
  AND NOT a.conflicting AND c.conversion_time >= a.exposed_time
  AND (%(window)s::float8 IS NULL
       OR c.conversion_time < a.exposed_time + %(window)s::float8 * interval '1 second')
  AND NOT EXISTS (SELECT FROM overrides o
                  WHERE o.experiment_id = a.experiment_id AND o.user_key = a.user_key)
GROUP BY a.experiment_id, a.user_key, c.metric
"""
STALE = """
SELECT user_key, metric, variant, conversions, total
FROM folded_people WHERE experiment_id = %(experiment)s AND user_key = ANY(%(keys)b::int4[])
"""

# Participants have no override; of the few who have one, those that take part are taken out again.
_PARTICIPANTS = """
SELECT variant, allocation, conflicting, sum(participants)::int8
FROM (
    SELECT variant, allocation, conflicting, participants FROM folded_participants
    WHERE experiment_id = %(experiment)s
    UNION ALL
    SELECT variant, allocation, conflicting, participants FROM touched
    WHERE experiment_id = %(experiment)s AND variant IS NOT NULL
    UNION ALL
    SELECT a.variant, a.allocation, a.conflicting, -1
    FROM overrides o JOIN assignments a USING (experiment_id, user_key)
    WHERE o.experiment_id = %(experiment)s AND a.exposed_time IS NOT NULL
) AS parts
GROUP BY variant, allocation, conflicting
"""

_SUMS = f"""
SELECT metric, variant, sum(converted), sum(conversions), sum(squared_conversions), sum(total),
       sum(squared_total), sum(product)
FROM (
    SELECT metric, variant, converted, conversions, squared_conversions, total, squared_total, product
    FROM folded_sums WHERE experiment_id = %(experiment)s
    UNION ALL
    SELECT metric, variant, sign, sign * conversions, sign * conversions * conversions, sign * total,
           sign * total * total, sign * conversions * total
    FROM (SELECT 1 AS sign, * FROM ({FRESH}) AS fresh
          UNION ALL
          SELECT -1, * FROM ({STALE}) AS stale) AS changes
) AS parts
WHERE metric = ANY(%(metrics)s::text[])
GROUP BY metric, variant
"""  # noqa: S608 - made of constants

_ALLOCATIONS = "SELECT allocation, shares FROM allocations WHERE experiment_id = %(experiment)s"

_OVERRIDDEN = "SELECT count(*) FROM overrides WHERE experiment_id = %(experiment)s"

_WAITING = """
SELECT coalesce(sum(cardinality(user_keys)), 0)::int8 FROM touched WHERE experiment_id = %(experiment)s
"""

_WAITING_KEYS = """
SELECT string_agg(int4send(user_key), '') FROM touched, unnest(user_keys) AS user_key
WHERE experiment_id = %(experiment)s
"""


def waiting_people(connection: "Connection", experiment: "Experiment") -> int:
    """Return how many keys wait to be folded, those noted several times included."""
    with driver_cursor(connection) as cursor:
        row = cursor.execute(_WAITING, {"experiment": experiment.experiment_id}).fetchone()
    return int(row[0]) if row else 0


def read_current(connection: "Connection", experiment: "Experiment", metrics: "Sequence[str]") -> Totals:
    """Return totals of these metrics as they are now; the transaction should be one snapshot."""
    parameters: dict[str, Any] = {
        "experiment": experiment.experiment_id,
        "metrics": list(metrics),
        "window": experiment.window_seconds,
    }
    with driver_cursor(connection) as cursor:
        parameters["keys"] = _waiting_keys(cursor, parameters)
        split, conflicting = _participants(cursor, experiment, parameters)
        overridden = cursor.execute(_OVERRIDDEN, parameters).fetchone()
        return Totals(
            split=split,
            shares=dict(cursor.execute(_ALLOCATIONS, parameters).fetchall()),
            conflicting=conflicting,
            overridden=overridden[0] if overridden else 0,
            sums={
                (metric, variant): Sums(*map(int, numbers))
                for metric, variant, *numbers in cursor.execute(_SUMS, parameters).fetchall()
                if numbers[0]
            }
            if metrics
            else {},
        )


def _waiting_keys(cursor: "Cursor[tuple[Any, ...]]", parameters: dict[str, Any]) -> PackedArray:
    packed = cursor.execute(_WAITING_KEYS, parameters).fetchone()
    return PackedArray(np.unique(np.frombuffer((packed and packed[0]) or b"", ">i4")), INT4)


def _participants(
    cursor: "Cursor[tuple[Any, ...]]", experiment: "Experiment", parameters: dict[str, Any]
) -> tuple[dict[int, list[int]], int]:
    """Return participants by allocation and variant, and how many are left out for two variants."""
    split: dict[int, list[int]] = {}
    left_out = 0
    for variant, allocation, conflicting, count in cursor.execute(_PARTICIPANTS, parameters).fetchall():
        if conflicting:
            left_out += count
        elif count:
            split.setdefault(allocation, [0] * len(experiment.variants))[variant] += count
    return split, left_out
