"""Paths of many origins at once, in the parts that explain them.

Histories of the origins are stacked into rows [origins, length], each ending at its origin, so that position
-1 is the last value known and a season of length m continues with position -m. All are filled and finite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.forecasting.models.values import Values

Kind = TypeVar("Kind", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Paths:
    """Forecasts [origins, horizon] as the sum of three parts of that shape."""

    level: Values
    trend: Values
    season: Values

    @property
    def mean(self) -> Values:
        """Return the forecasts themselves."""
        return self.level + self.trend + self.season


@dataclass(frozen=True, slots=True)
class Model:
    """A way to forecast: a stable name, what it does in words, and the paths it makes of rows."""

    name: str
    does: str
    paths: Callable[[Values, int], Paths]


def average(several: Sequence[Paths]) -> Paths:
    """Return the mean of the paths, part by part."""
    return Paths(
        np.mean([paths.level for paths in several], axis=0),
        np.mean([paths.trend for paths in several], axis=0),
        np.mean([paths.season for paths in several], axis=0),
    )


def flat(levels: Values, horizon: int) -> Paths:
    """Return paths that stay at one level each; levels [origins]."""
    level = np.repeat(levels[:, None], horizon, axis=1)
    return Paths(level, np.zeros_like(level), np.zeros_like(level))


def repeated(season: NDArray[Kind], horizon: int) -> NDArray[Kind]:
    """Return the coming `horizon` values of a season [origins, m] whose first column comes next."""
    return season[:, np.arange(horizon) % season.shape[1]]


def seasonal_naive(rows: Values, horizon: int, period: int) -> Values:
    """Return the last season again and again, [origins, horizon]."""
    return repeated(rows[:, -period:], horizon)
