"""How often intervals cover what comes, by simulation with fixed seeds."""

from collections.abc import Callable

import numpy as np
import pytest

from services.forecasting.models.forecast import forecast
from services.forecasting.models.values import Series, Step, Values
from tests.services.forecasting.models.series import MONDAY, WEEK, weekly_counts

RUNS = 400


def counts(generator: np.random.Generator) -> Series:
    return Series(weekly_counts(generator, 40, 120), Step.DAY, MONDAY)


def wandering(generator: np.random.Generator) -> Series:
    level = 1000 * np.exp(np.cumsum(generator.normal(0, 0.02, 120)))
    return Series(level * WEEK[np.arange(120) % 7] * np.exp(generator.normal(0, 0.1, 120)), Step.DAY, MONDAY)


def growing(generator: np.random.Generator) -> Series:
    return Series(weekly_counts(generator, 100 + 2 * np.arange(120.0), 120), Step.DAY, MONDAY)


def skewed(generator: np.random.Generator) -> Series:
    return Series(generator.lognormal(5, 0.8, 120) * WEEK[np.arange(120) % 7], Step.DAY, MONDAY)


def monthly(generator: np.random.Generator) -> Series:
    shape = 1 + 0.2 * np.sin(2 * np.pi * np.arange(90) / 12)
    return Series(
        (500 + 3 * np.arange(90)) * shape * np.exp(generator.normal(0, 0.05, 90)), Step.MONTH, MONDAY
    )


def hourly(generator: np.random.Generator) -> Series:
    shape = np.repeat(WEEK, 24) * np.tile(1 + 0.6 * np.sin(2 * np.pi * np.arange(24) / 24), 7)
    return Series(generator.poisson(30 * np.tile(shape, 6)).astype(np.float64), Step.HOUR, MONDAY)


def covered(simulate: Callable[[np.random.Generator], Series], horizon: int) -> tuple[Values, Values]:
    """Return the share of values, and of totals, inside their intervals of 80 and 95 %."""
    steps, totals = [], []
    for seed in range(RUNS):
        whole = simulate(np.random.default_rng(seed))
        known, came = whole.values[:-horizon], whole.values[-horizon:]
        made = forecast(Series(known, whole.step, whole.first_day), horizon)
        steps.append([np.mean((band.lower <= came) & (came <= band.upper)) for band in made.bands])
        totals.append([each.lower <= came.sum() <= each.upper for each in made.total.intervals])
    return np.mean(steps, axis=0), np.mean(totals, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("simulate", "horizon"),
    [(counts, 30), (wandering, 30), (growing, 30), (skewed, 30), (monthly, 12), (hourly, 168)],
)
def test_intervals_cover_what_they_say(
    simulate: Callable[[np.random.Generator], Series], horizon: int
) -> None:
    steps, totals = covered(simulate, horizon)
    assert 0.76 <= steps[0] <= 0.92
    assert 0.91 <= steps[1] <= 0.99
    assert totals[0] >= 0.76
    assert totals[1] >= 0.9
