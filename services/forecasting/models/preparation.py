"""Make a series ready: fill holes and say so, set special days aside, refuse what cannot be forecast."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from services.forecasting.models.values import LARGEST, Calendar, Series, Step, Values

_STEPS_A_DAY = {Step.HOUR: 24, Step.DAY: 1}
_LONGEST_HOLE = {Step.HOUR: 21 * 24, Step.DAY: 56, Step.WEEK: 26, Step.MONTH: 12}
_FEW = 8
LEAST_LEVEL = 1e-4  # beyond, and as far below 1, a handful of origins can tell nothing


@dataclass(frozen=True, slots=True)
class Prepared:
    """A series ready to be forecast.

    `filled` has no hole; `observed` has NaN where nothing was observed or a special day was set aside;
    `raw` is what was given. `first` is how many leading values were left out.
    """

    filled: Values
    observed: Values
    raw: Values
    first: int
    warnings: tuple[str, ...]


def problems(series: Series, horizon: int, levels: tuple[float, ...]) -> list[tuple[str, str]]:
    """Return what is wrong with a question as (field, reason)."""
    found: list[tuple[str, str]] = []
    values = series.values
    if values.ndim != 1 or not len(values):
        found.append(("points", "at least one point is needed"))
    elif np.isinf(values).any():
        found.append(("points", "values are finite"))
    elif np.isnan(values).all():
        found.append(("points", "every value is missing"))
    elif np.nanmax(np.abs(values)) > LARGEST:
        found.append(("points", f"values are at most {LARGEST:g}"))
    if horizon < 1:
        found.append(("horizon", "at least one step ahead"))
    elif horizon > max(2 * len(values), 1):
        found.append(("horizon", f"at most twice the history, {2 * len(values)} steps"))
    if not levels or any(not LEAST_LEVEL <= level <= 1 - LEAST_LEVEL for level in levels):
        found.append(("levels", f"levels are {LEAST_LEVEL:g} to {1 - LEAST_LEVEL:g}, at least one"))
    return found


def prepared(series: Series, calendar: Calendar, period_of: Callable[[Step, int], int]) -> Prepared:
    """Return the series without leading and long holes, holes filled, special days set aside.

    `period_of` tells the season of so many values.
    """
    first, warnings = _start(series.values, series.step)
    raw = series.values[first:]
    observed = np.where(special_days(series, calendar)[first : first + len(raw)], np.nan, raw)
    if np.isnan(observed).all():
        observed = raw
    missing = int(np.isnan(raw).sum())
    if missing:
        warnings.append(f"{missing} of {len(raw)} values are missing; they were filled in")
    known = int(np.isfinite(observed).sum())
    if known < _FEW:
        values = "value" if known == 1 else "values"
        warnings.append(f"only {known} {values}: the mean with a wide interval")
    return Prepared(filled(observed, period_of(series.step, len(raw))), observed, raw, first, tuple(warnings))


def filled(observed: Values, period: int) -> Values:
    """Return the series with holes filled by straight lines between the same places of other cycles."""
    values = observed.copy()
    for place in range(min(period, len(values))):
        mine = values[place::period]
        known = np.isfinite(mine)
        if known.any() and not known.all():
            positions = np.arange(len(mine))
            mine[~known] = np.interp(positions[~known], positions[known], mine[known])
    if np.isnan(values).any():
        positions, known = np.arange(len(values)), np.isfinite(values)
        values[~known] = np.interp(positions[~known], positions[known], values[known])
    return values


def days_of(series: Series, start: int, count: int) -> list[date]:
    """Return the local date of each bucket from position `start`; only for hours and days."""
    a_day = _STEPS_A_DAY[series.step]
    return [
        series.first_day + timedelta(days=(series.first_hour * (a_day > 1) + position) // a_day)
        for position in range(start, start + count)
    ]


def special_days(series: Series, calendar: Calendar) -> NDArray[np.bool_]:
    """Tell which buckets lie on holidays or closures."""
    special = calendar.holidays | calendar.closures
    if not special or series.step not in _STEPS_A_DAY:
        return np.zeros(len(series.values), dtype=np.bool_)
    return np.array([day in special for day in days_of(series, 0, len(series.values))], dtype=np.bool_)


def _start(values: Values, step: Step) -> tuple[int, list[str]]:
    """Return where to start, after missing values at the start and after the last long hole, and warnings."""
    known = np.flatnonzero(np.isfinite(values))
    holes = np.diff(known)
    long = np.flatnonzero(holes > _LONGEST_HOLE[step])
    if not len(long):
        return int(known[0]), []
    start = int(known[long[-1] + 1])
    hole = int(holes[long[-1]]) - 1
    return start, [f"a hole of {hole} {step.value}s: only what came after it was used"]
