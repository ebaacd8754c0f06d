"""Forecast a series: choose a model by a back-test, say how far it may be off, and explain it."""

from services.forecasting.models.values import Calendar, Forecast, Series

LEVELS = (0.8, 0.95)
NO_CALENDAR = Calendar()


def problems(series: Series, horizon: int, levels: tuple[float, ...] = LEVELS) -> list[tuple[str, str]]:
    """Return what is wrong with a question as (field, reason); field is points, horizon or levels."""
    raise NotImplementedError


def forecast(
    series: Series,
    horizon: int,
    levels: tuple[float, ...] = LEVELS,
    calendar: Calendar = NO_CALENDAR,
) -> Forecast:
    """Return the forecast of the `horizon` buckets after the series.

    Raises ValueError where `problems` finds something.
    """
    raise NotImplementedError
