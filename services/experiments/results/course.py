"""Totals as they stood at several moments, in one pass over all that is kept.

What somebody does adds to the sums from its moment on; squares grow by the difference of squares before and
after it. So the sums of a moment are those of the one before and what was added between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Any

from services.experiments.domain import Experiment
from services.experiments.results.totals import Sums, Totals
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Connection

# width_bucket() counts the moments up to a time: the place of the first moment that is after it.
_PARTICIPANTS = """
SELECT width_bucket(a.exposed_time, %(ends)s::timestamptz[]) AS place, a.variant, a.allocation, a.conflicting,
       count(*)
FROM assignments a
WHERE a.experiment_id = %(experiment)s AND a.exposed_time < %(last)s
  AND NOT EXISTS (SELECT FROM overrides o WHERE o.experiment_id = a.experiment_id AND o.user_key = a.user_key)
GROUP BY 1, 2, 3, 4
"""

_SUMS = """
SELECT place, metric, variant, count(*) FILTER (WHERE so_far = conversions), sum(conversions),
       sum(so_far * so_far - (so_far - conversions) * (so_far - conversions)), sum(total),
       sum(total_so_far * total_so_far - (total_so_far - total) * (total_so_far - total)),
       sum(total_so_far * so_far - (total_so_far - total) * (so_far - conversions))
FROM (
    SELECT place, metric, variant, conversions, total,
           sum(conversions) OVER person AS so_far, sum(total) OVER person AS total_so_far
    FROM (
        SELECT width_bucket(c.conversion_time, %(ends)s::timestamptz[]) AS place, c.metric, c.user_key,
               a.variant, count(*) AS conversions, sum(c.value) AS total
        FROM conversions c JOIN assignments a USING (experiment_id, user_key)
        WHERE c.experiment_id = %(experiment)s AND c.metric = ANY(%(metrics)s::text[]) AND NOT a.conflicting
          AND c.conversion_time >= a.exposed_time AND c.conversion_time < %(last)s
          AND (%(window)s::float8 IS NULL
               OR c.conversion_time < a.exposed_time + %(window)s::float8 * interval '1 second')
          AND NOT EXISTS (SELECT FROM overrides o
                          WHERE o.experiment_id = c.experiment_id AND o.user_key = c.user_key)
        GROUP BY 1, 2, 3, 4) AS done
    WINDOW person AS (PARTITION BY metric, user_key ORDER BY place)) AS growing
GROUP BY place, metric, variant
"""

_ALLOCATIONS = "SELECT allocation, shares FROM allocations WHERE experiment_id = %(experiment)s"

_OVERRIDDEN = "SELECT count(*) FROM overrides WHERE experiment_id = %(experiment)s"

# Of a participant: allocation, variant, whether left out for two variants. Of a sum: metric and variant.
_Group = tuple[int, int, bool]
_Of = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Added:
    """What came between two moments."""

    participants: dict[_Group, int]
    sums: dict[_Of, Sums]

    def __add__(self, later: "_Added") -> "_Added":
        return _Added(
            {
                group: self.participants.get(group, 0) + later.participants.get(group, 0)
                for group in self.participants | later.participants
            },
            {of: self.sums.get(of, Sums()) + later.sums.get(of, Sums()) for of in self.sums | later.sums},
        )


def read_course(
    connection: "Connection", experiment: Experiment, metrics: Sequence[str], ends: Sequence[int]
) -> list[Totals]:
    """Return totals of what happened before each of these moments: in Unix microseconds, rising.

    The transaction should be one snapshot.
    """
    if not ends:
        return []
    moments = [to_datetime_utc(end) for end in ends]
    parameters: dict[str, Any] = {
        "experiment": experiment.experiment_id,
        "metrics": list(metrics),
        "window": experiment.window_seconds,
        "ends": moments,
        "last": moments[-1],
    }
    with driver_cursor(connection) as cursor:
        added = _read(cursor, parameters, len(ends))
        shares = dict(cursor.execute(_ALLOCATIONS, parameters).fetchall())
        overridden = cursor.execute(_OVERRIDDEN, parameters).fetchone()
    return [
        _totals(each, len(experiment.variants), shares, overridden[0] if overridden else 0)
        for each in accumulate(added, add)
    ]


def _read(cursor: "Cursor[tuple[Any, ...]]", parameters: dict[str, Any], count: int) -> list[_Added]:
    added = [_Added({}, {}) for _ in range(count)]
    for place, variant, allocation, conflicting, number in cursor.execute(_PARTICIPANTS, parameters):
        added[place].participants[allocation, variant, conflicting] = number
    if parameters["metrics"]:
        for place, metric, variant, *numbers in cursor.execute(_SUMS, parameters):
            added[place].sums[metric, variant] = Sums(*map(int, numbers))
    return added


def _totals(added: _Added, variants: int, shares: dict[int, list[int]], overridden: int) -> Totals:
    split: dict[int, list[int]] = {}
    for (allocation, variant, conflicting), number in added.participants.items():
        if not conflicting:
            split.setdefault(allocation, [0] * variants)[variant] += number
    return Totals(
        split=split,
        shares=shares,
        conflicting=sum(number for (_, _, left_out), number in added.participants.items() if left_out),
        overridden=overridden,
        sums=added.sums,
    )
