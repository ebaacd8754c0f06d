"""Which models compete for a series, which one stays, and how far it may be off."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from services.forecasting.models import back_test, candidates, intermittent, intervals
from services.forecasting.models.back_test import Chosen, Origins
from services.forecasting.models.intervals import Spread
from services.forecasting.models.paths import Model, Paths, flat
from services.forecasting.models.values import BackTest, Step, Values

FEW = 8  # with fewer values than this no model is better than their mean
_PERIODS = {Step.HOUR: (168, 24), Step.DAY: (7,), Step.WEEK: (52,), Step.MONTH: (12,)}
_DAY_HOURS = 24
_LEAST_CYCLES = {Step.HOUR: 2, Step.DAY: 3, Step.WEEK: 3, Step.MONTH: 3}
_LONGEST = {Step.HOUR: 2016, Step.DAY: 420, Step.WEEK: 520, Step.MONTH: 600}
_FEWEST_ORIGINS = 3


@dataclass(frozen=True, slots=True)
class Judged:
    """A model's path (one row), why it was chosen, how far it may be off, and its back-test."""

    model: str
    why: str
    paths: Paths
    spread: Spread
    back_test: BackTest | None


def period_of(step: Step, length: int) -> int:
    """Return the longest season of the step that the history shows often enough, else 1."""
    return next((period for period in _PERIODS[step] if length >= _LEAST_CYCLES[step] * period), 1)


def judged(step: Step, filled: Values, observed: Values, horizon: int, levels: tuple[float, ...]) -> Judged:
    """Choose and back-test a model for a filled series; `observed` has NaN where a value was filled in."""
    known = observed[np.isfinite(observed)]
    if len(known) < FEW:
        return _mean(known, horizon, f"too few values for any model: {len(known)}")
    filled, observed = filled[-_LONGEST[step] :], observed[-_LONGEST[step] :]
    period = period_of(step, len(filled))
    origins = back_test.cut(filled, observed, horizon, _shortest_row(len(filled), period))
    if not np.isfinite(origins.actual).any():
        return _mean(known, horizon, "no recent value was observed: nothing to test a model on")
    default, others = _competing(step, filled, period)
    chosen = back_test.choose(origins, default, others)
    missed = origins.actual - chosen.predicted
    return Judged(
        model=chosen.model.name,
        why=_why(chosen, default),
        paths=chosen.model.paths(filled[None, :], horizon),
        spread=intervals.spread_of(missed, origins.ahead, period),
        back_test=_scored(origins, chosen, observed, period, levels),
    )


def _competing(step: Step, filled: Values, period: int) -> tuple[Model, tuple[Model, ...]]:
    """Return the default and those that may replace it.

    Intermittent demand has no rival: its median is 0, so that an absolute error would choose "nothing".
    """
    if intermittent.is_intermittent(filled, period if step is not Step.HOUR else min(period, _DAY_HOURS)):
        return intermittent.tsb(), ()
    if step in (Step.WEEK, Step.MONTH):
        default = candidates.theta_damped(period)
        return default, (candidates.drift(period), candidates.increments(default), candidates.naive(period))
    return _for_hours(period) if step is Step.HOUR else _for_days(period)


def _for_days(period: int) -> tuple[Model, tuple[Model, ...]]:
    default = candidates.closed_places(candidates.median_mix(period), period)
    return default, (
        candidates.closed_places(candidates.theta_profile(period), period),
        candidates.closed_places(candidates.damped_profile(period), period),
        candidates.drift(period),
        candidates.increments(default),
    )


def _for_hours(period: int) -> tuple[Model, tuple[Model, ...]]:
    default = candidates.closed_places(candidates.median_theta(period), period)
    by_day = (candidates.median_theta(_DAY_HOURS),) if period > _DAY_HOURS else ()
    return default, (
        candidates.naive(period),
        candidates.drift(period),
        candidates.increments(default),
        *by_day,
    )


def _shortest_row(length: int, period: int) -> int:
    """Return how much history an origin needs: four to one seasons and a bit, as the series allows."""
    if period == 1:
        return min(FEW, length - _FEWEST_ORIGINS)
    cycles = next(
        (cycles for cycles in (4, 3) if length >= (cycles + 2) * period), 2 if length >= 3 * period else 1
    )
    return cycles * period if cycles > 1 else period + period // 7


def _scored(
    origins: Origins, chosen: Chosen, observed: Values, period: int, levels: tuple[float, ...]
) -> BackTest:
    scale = back_test.seasonal_scale(observed, period)
    return BackTest(
        origins=len(origins.rows),
        steps=origins.actual.shape[1],
        errors=back_test.errors(chosen.predicted, origins.actual, scale),
        seasonal_naive=back_test.naive_errors(origins, period, scale),
        coverage=intervals.coverage(origins.actual - chosen.predicted, origins.ahead, period, levels),
    )


def _why(chosen: Chosen, default: Model) -> str:
    if chosen.model.name != default.name:
        lower = 1 - chosen.error_ratio
        return f"{chosen.model.does}: {lower:.0%} less error in the back-test than {default.name}"
    if default.name == "tsb":
        return f"{default.does}: the usual choice where most buckets are empty"
    return f"{default.does}: the usual choice, no other had 30 % less error in the back-test"


def _mean(known: Values, horizon: int, why: str) -> Judged:
    """Return the mean of a few values; never surer than one part in their number."""
    mean = float(known.mean())
    spread = float(known.std(ddof=1)) if len(known) > 1 else 0.0
    size = max(spread * float(np.sqrt(1 + 1 / len(known))), (abs(mean) or 1.0) / len(known))
    normal = size * ndtri((1 + np.arange(0.005, 1, 0.01)) / 2)
    return Judged(
        model="mean",
        why=why,
        paths=flat(np.array([mean]), horizon),
        spread=Spread(normal, 0.5, 1, len(known), None, np.ones(1), 1.0),
        back_test=None,
    )
