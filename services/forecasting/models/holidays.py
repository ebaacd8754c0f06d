"""What known days do to a forecast: closures make it 0, holidays multiply it by what they did before."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.forecasting.models.preparation import Prepared, days_of
from services.forecasting.models.values import Calendar, Series, Step, Values


@dataclass(frozen=True, slots=True)
class Effect:
    """What to add to a path on known days and which steps are closed, [horizon], and what to tell of it."""

    added: Values
    closed: NDArray[np.bool_]
    warnings: tuple[str, ...]


def effect(series: Series, ready: Prepared, calendar: Calendar, path: Values) -> Effect:
    """Return the effect of the calendar on a path that knows nothing of it."""
    if series.step not in (Step.HOUR, Step.DAY) or not (calendar.holidays or calendar.closures):
        return Effect(np.zeros_like(path), np.zeros(len(path), dtype=np.bool_), ())
    ahead = days_of(series, len(series.values), len(path))
    holiday = np.array([day in calendar.holidays for day in ahead])
    closed = np.array([day in calendar.closures for day in ahead])
    factor = _factor(series, ready, calendar)
    warnings = (
        ("holidays ahead, but none in the history to learn from",) if holiday.any() and factor is None else ()
    )
    added = np.where(holiday, path * ((1.0 if factor is None else factor) - 1), 0.0)
    return Effect(np.where(closed, -path, added), closed, warnings)


def _factor(series: Series, ready: Prepared, calendar: Calendar) -> float | None:
    """Return what holidays were, over what the same places of other cycles were; None without any."""
    days = days_of(series, ready.first, len(ready.raw))
    holiday = np.array([day in calendar.holidays and day not in calendar.closures for day in days])
    known = holiday & np.isfinite(ready.raw)
    usual = float(ready.filled[known].sum())
    if usual <= 0:
        return None
    return max(0.0, float(ready.raw[known].sum()) / usual)
