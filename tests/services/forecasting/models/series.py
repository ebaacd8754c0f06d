"""Series for tests."""

from datetime import date

import numpy as np

from services.forecasting.models.values import Calendar, Series, Step, Values

MONDAY = date(2024, 1, 1)
WEEK = np.array([1.0, 1.1, 1.1, 1.05, 1.0, 0.7, 0.6])
NO_DAYS = Calendar()


def daily(values: Values, lower_bound: float | None = 0.0) -> Series:
    """Return daily values from a Monday on."""
    return Series(np.asarray(values, dtype=np.float64), Step.DAY, MONDAY, lower_bound=lower_bound)


def weekly_counts(generator: np.random.Generator, level: float | Values, length: int) -> Values:
    """Return Poisson counts around a level and a weekly shape."""
    return generator.poisson(level * WEEK[np.arange(length) % 7]).astype(np.float64)
