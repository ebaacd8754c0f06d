"""Forecast a series: choose a model by a back-test, say how far it may be off, and explain it."""

from dataclasses import replace

import numpy as np

from services.forecasting.models import choosing, holidays, intervals, preparation, shifts
from services.forecasting.models.choosing import Judged
from services.forecasting.models.preparation import Prepared
from services.forecasting.models.values import (
    Band,
    Calendar,
    Forecast,
    Interval,
    Parts,
    Series,
    Step,
    Total,
    Values,
)

VERSION = "2026-11"  # of all models together: changed whenever the forecast of an equal series changes
LEVELS = (0.8, 0.95)
NO_CALENDAR = Calendar()

_WEEKLY = {Step.HOUR: 168, Step.DAY: 7}

problems = preparation.problems
LEAST_LEVEL = preparation.LEAST_LEVEL


def forecast(
    series: Series,
    horizon: int,
    levels: tuple[float, ...] = LEVELS,
    calendar: Calendar = NO_CALENDAR,
) -> Forecast:
    """Return the forecast of the `horizon` buckets after the series.

    Raises ValueError where `problems` finds something.
    """
    if found := problems(series, horizon, levels):
        raise ValueError("; ".join(f"{field}: {reason}" for field, reason in found))
    ready = _levelled(series, preparation.prepared(series, calendar, choosing.period_of))
    judged = choosing.judged(series.step, ready.filled, ready.observed, horizon, levels)
    known_days = holidays.effect(series, ready, calendar, judged.paths.mean[0])
    path = judged.paths.mean[0] + known_days.added
    mean = _bounded(path, series)
    total = float(mean.sum())
    sums = intervals.total_intervals(total, horizon, judged.spread, levels)
    return Forecast(
        mean=mean,
        bands=tuple(
            _band(
                mean,
                np.where(known_days.closed, 0.0, judged.spread.half_widths(level, horizon)),
                level,
                series,
            )
            for level in levels
        ),
        total=Total(total, tuple(_bounded_total(interval, horizon, series) for interval in sums)),
        model=judged.model,
        why=judged.why,
        back_test=judged.back_test,
        parts=_parts(judged, known_days.added),
        warnings=(*ready.warnings, *known_days.warnings, *_doubts(series.step, ready, judged, horizon)),
    )


def _levelled(series: Series, ready: Prepared) -> Prepared:
    """Return a daily or hourly series with what came before a lasting shift brought to the new level."""
    shift = shifts.last_shift(ready.filled, _WEEKLY[series.step]) if series.step in _WEEKLY else None
    if shift is None:
        return ready
    ago = len(ready.filled) - shift.position
    said = f"the level changed {ago} {series.step.value}s ago: what came before was brought to the new one"
    return replace(
        ready,
        filled=shifts.at_new_level(ready.filled, shift),
        observed=shifts.at_new_level(ready.observed, shift),
        raw=shifts.at_new_level(ready.raw, shift),
        warnings=(*ready.warnings, said),
    )


def _band(mean: Values, half_widths: Values, level: float, series: Series) -> Band:
    return Band(level, _bounded(mean - half_widths, series), _bounded(mean + half_widths, series))


def _parts(judged: Judged, added: Values) -> Parts:
    paths = judged.paths
    return Parts(level=paths.level[0], trend=paths.trend[0], season=paths.season[0], holiday=added)


def _bounded(values: Values, series: Series) -> Values:
    return np.clip(values, series.lower_bound, series.upper_bound)


def _bounded_total(interval: Interval, horizon: int, series: Series) -> Interval:
    lowest = -np.inf if series.lower_bound is None else series.lower_bound * horizon
    highest = np.inf if series.upper_bound is None else series.upper_bound * horizon
    lower, upper = (float(np.clip(end, lowest, highest)) for end in (interval.lower, interval.upper))
    return Interval(interval.level, lower, upper)


def _doubts(step: Step, ready: Prepared, judged: Judged, horizon: int) -> list[str]:
    """Return what makes the forecast less sure than its intervals say."""
    doubts = []
    if judged.back_test is None:
        doubts.append("no back-test: too few values")
    elif judged.back_test.steps < horizon:
        doubts.append(f"the back-test looks {judged.back_test.steps} of {horizon} steps ahead")
    if judged.back_test and step in _WEEKLY and choosing.period_of(step, len(ready.filled)) != _WEEKLY[step]:
        doubts.append("too short to know a weekly pattern")
    if step in _WEEKLY and shifts.is_last_apart(ready.filled, _WEEKLY[step]):
        doubts.append("the last week is unlike the six before: if that lasts, this forecast is off")
    if ready.filled.min() == ready.filled.max() and len(ready.filled) >= choosing.FEW:
        doubts.append("the series is constant: nothing in it tells how far it may move")
    return doubts
