"""What a forecast is made from and what it says. Arrays are float64; no answer has NaN or infinity in it."""

from dataclasses import dataclass
from datetime import date
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

# Squares of larger values, and sums of these, may be infinite.
LARGEST = 1e100


class Step(Enum):
    """The spacing of a series."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Series:
    """A metric on its regular grid, oldest first, complete buckets only.

    `values` has NaN where a bucket is missing. `first_day` is the local date of the first bucket (its
    Monday or its first of the month for weeks and months), `first_hour` its hour for hourly series.
    Forecasts stay within the bounds: (0, None) for counts and amounts, (0, 1) for ratios.
    """

    values: Values
    step: Step
    first_day: date
    first_hour: int = 0
    lower_bound: float | None = 0.0
    upper_bound: float | None = None


@dataclass(frozen=True, slots=True)
class Calendar:
    """Known days that are not like others, past and coming; used for hourly and daily series.

    On closures nothing happens: the forecast is 0. The effect of holidays is learned from past ones.
    """

    holidays: frozenset[date] = frozenset()
    closures: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True)
class Band:
    """The interval of each step (arrays as long as the path) at one level, 0-1."""

    level: float
    lower: Values
    upper: Values


@dataclass(frozen=True, slots=True)
class Interval:
    """The interval of one number at one level, 0-1."""

    level: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Total:
    """The sum over the horizon. `intervals` are of the sum itself, not sums of the band."""

    value: float
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Errors:
    """How far forecasts were off at the origins of a back-test, all horizons together.

    `mase`: mean absolute error over the mean absolute seasonal difference of the history (Hyndman, Koehler
    2006); None where that is 0. `smape_ratio`: mean of 2|y - f| / (|y| + |f|), 0-2, a pair of zeros counts 0.
    `bias`: mean of forecast - actual, in the metric's unit.
    """

    mean_absolute_error: float
    mase: float | None
    smape_ratio: float
    bias: float


@dataclass(frozen=True, slots=True)
class Coverage:
    """The share, 0-1, of the back-test's actuals inside the interval that the other origins give."""

    level: float
    covered_ratio: float


@dataclass(frozen=True, slots=True)
class BackTest:
    """Forecasts made at past origins, from what was known then, beside the seasonal naive one."""

    origins: int
    steps: int
    errors: Errors
    seasonal_naive: Errors
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """The path explained; the four arrays, as long as the path, add up to it before bounds.

    `season` is the weekday's part for daily series (hour of the week, month of the year otherwise).
    """

    level: Values
    trend: Values
    season: Values
    holiday: Values


@dataclass(frozen=True, slots=True)
class Forecast:
    """A path with its intervals, and how far to trust it.

    `model` is a short stable name, `why` a sentence for people. `back_test` is None where the history is too
    short for one; `warnings` then says so.
    """

    mean: Values
    bands: tuple[Band, ...]
    total: Total
    model: str
    why: str
    back_test: BackTest | None
    parts: Parts
    warnings: tuple[str, ...] = ()
