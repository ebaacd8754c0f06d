"""What each participant did, where sums do not suffice: values are cut, or explained by what was before."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.experiments.domain import VALUE_SCALE, Experiment, Metric, MetricKind
from services.experiments.results.attribution import NO_VALUE, Events, Owners, places
from services.experiments.results.totals import Shaped
from services.experiments.stats.moments import JointMoments
from services.experiments.stats.winsorisation import cut_at, winsorised
from shared.calendar import DAY_MICROS, to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ALWAYS = datetime(9999, 1, 1, tzinfo=UTC)

# Who converted, in columns.
_TRACKED = """
SELECT string_agg(int2send(variant), ''), string_agg(int8send(conversions), ''),
       string_agg(float8send(total), '')
FROM (
    SELECT a.variant, count(*) AS conversions, sum(c.value)::float8 AS total
    FROM conversions c JOIN assignments a USING (experiment_id, user_key)
    WHERE c.experiment_id = %(experiment)s AND c.metric = %(metric)s
      AND a.exposed_time < %(until)s AND NOT a.conflicting
      AND (%(among)s::int4[] IS NULL OR c.user_key = ANY(%(among)s::int4[]))
      AND c.conversion_time >= a.exposed_time AND c.conversion_time < %(until)s
      AND (%(window)s::float8 IS NULL
           OR c.conversion_time < a.exposed_time + %(window)s::float8 * interval '1 second')
      AND NOT EXISTS (SELECT FROM overrides o
                      WHERE o.experiment_id = c.experiment_id AND o.user_key = c.user_key)
    GROUP BY a.variant, c.user_key) AS people
"""


@dataclass(frozen=True, slots=True, eq=False)
class Did:
    """Columns of participants, of those at least who did something: variants; conversions and totals since
    the first exposure; the same of the days before it.
    """  # noqa: D205 - one sentence

    variants: NDArray[np.int16]
    conversions: NDArray[np.float64]
    totals: NDArray[np.float64]
    conversions_before: NDArray[np.float64]
    totals_before: NDArray[np.float64]


def tracked(
    connection: "Connection",
    experiment: Experiment,
    metric: str,
    until: int | None,
    among: Sequence[int] | None = None,
) -> Did:
    """Read what was tracked of a metric, up to a moment in Unix microseconds; among people, where told."""
    parameters = {
        "experiment": experiment.experiment_id,
        "metric": metric,
        "until": _ALWAYS if until is None else to_datetime_utc(until),
        "window": experiment.window_seconds,
        "among": among,
    }
    with driver_cursor(connection) as cursor:
        variants, conversions, totals = cursor.execute(_TRACKED, parameters).fetchone() or (None, None, None)
    number = np.frombuffer(conversions or b"", ">i8").astype(np.float64)
    nothing = np.zeros(len(number))
    return Did(
        np.frombuffer(variants or b"", ">i2").astype(np.int16),
        number,
        np.frombuffer(totals or b"", ">f8").astype(np.float64) / VALUE_SCALE,
        nothing,
        nothing,
    )


def fed(
    owners: Owners, chunks: Iterable[Events], window: int | None, until: int | None, days_before: int
) -> Did:
    """Return what owners did, by their events; times in Unix microseconds."""
    since, before = ([np.zeros(len(owners.keys)) for _ in range(2)] for _ in range(2))
    for chunk in chunks:
        at, known = places(owners.keys, chunk.keys)
        at, times, values = at[known], chunk.times[known], chunk.values[known]
        amounts = np.where(values == NO_VALUE, 0, values) / VALUE_SCALE
        exposed = owners.exposed[at]
        late = times >= exposed + window if window is not None else np.zeros(len(times), np.bool_)
        if until is not None:
            late |= times >= until
        early = (times < exposed) & (times >= exposed - days_before * DAY_MICROS)
        for columns, counts in ((since, (times >= exposed) & ~late), (before, early)):
            columns[0] += np.bincount(at[counts], minlength=len(owners.keys))
            columns[1] += np.bincount(at[counts], amounts[counts], minlength=len(owners.keys))
    return Did(owners.variants, *since, *before)


def shaped(metric: Metric, did: Did, participants: Sequence[int]) -> Shaped:
    """Return the moments of a metric by variant, cut and beside what was before, as the metric says.

    Those who did nothing are participants too, with zeros.
    """
    values, before = did.totals, did.totals_before
    if metric.kind is not MetricKind.VALUE:
        values, before = (column.clip(0, 1) for column in (did.conversions, did.conversions_before))
    cut = None
    everybody = sum(participants)
    if metric.winsorized_quantile is not None and everybody > 0:
        cut = cut_at(_filled(values, everybody), metric.winsorized_quantile)
        values = winsorised(values, cut)
    columns = (before, values, did.conversions)
    by_variant = [
        [_filled(column[did.variants == variant], number) for column in columns]
        for variant, number in enumerate(participants)
    ]
    return Shaped(
        cut=cut,
        with_before=tuple(JointMoments.of(x, y) for x, y, _ in by_variant),
        moments=tuple(JointMoments.of(y, number) for _, y, number in by_variant),
    )


def _filled(column: NDArray[np.float64], number: int) -> NDArray[np.float64]:
    return np.concatenate([column, np.zeros(max(0, number - len(column)))])
