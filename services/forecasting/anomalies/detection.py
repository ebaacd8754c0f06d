"""Which points of a series are out of the ordinary, and how often that happens."""

import math
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from services.forecasting.anomalies.expectation import Smoothing, Values, expect, squeeze, stretch

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS_PER_MONTH = 30.4375 * 86_400
DAY_SECONDS = 86_400


class Spacing(Enum):
    """How far points are apart: seconds of one, seasons and window of the default method in points."""

    HOUR = (3_600, (24, 168), 56 * 24)
    DAY = (DAY_SECONDS, (7,), 56)
    WEEK = (7 * DAY_SECONDS, (1,), 52)
    MONTH = (SECONDS_PER_MONTH, (12,), 36)

    @property
    def seconds(self) -> float:
        """Seconds of one point."""
        seconds: float = self.value[0]
        return seconds

    @property
    def smoothing(self) -> Smoothing:
        """How what is expected follows what came."""
        _, seasons, window = self.value
        return Smoothing(seasons, window, shift_points=max(7, seasons[0]))


class Method(Enum):
    """How far from the ordinary is measured."""

    SEASONAL = "seasonal"
    ZSCORE = "zscore"


@dataclass(frozen=True, slots=True)
class Point:
    """What is said of one point. The score is how many deviations it lies above what was expected.

    All but `at` are None where nothing can be said: too early, or no value.
    """

    at: int
    expected: float | None
    lower: float | None
    upper: float | None
    score: float | None
    is_anomalous: bool


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Anomalous points in a row on one side, `start` to `end` inclusive; `peak` is the furthest."""

    start: int
    end: int
    peak: Point


@dataclass(frozen=True, slots=True)
class Found:
    """Points, anomalies, and how many there are a month over all the points that were judged.

    Every alert on a metric's own history counts, so `alerts_per_month` is at least the rate of false ones.
    None where nothing was judged, and `reason` says why. `warnings` are for people.
    """

    points: tuple[Point, ...]
    anomalies: tuple[Anomaly, ...]
    judged: int
    alerts_per_month: float | None
    reason: str
    warnings: tuple[str, ...]


def detect_seasonal(values: Values, spacing: Spacing, threshold: float, *, is_count: bool) -> Found:
    """Judge each point by those before it alone.

    Args:
        values: (n,) in order, equally spaced; NaN where missing or closed.
        spacing: how far apart.
        threshold: deviations, above 0.
        is_count: whether values are counts.

    """
    known = expect(values, spacing.smoothing, is_count=is_count)
    score = (squeeze(values) - known.expected) / known.deviation
    ends = [stretch(known.expected + side * threshold * known.deviation) for side in (0, -1, 1)]
    if is_count:
        ends = [np.maximum(end, 0) for end in ends]
    points = _points((*ends, score), threshold)
    needed = 2 * max(spacing.smoothing.seasons) + 14
    return _found(
        points, spacing, (), f"needs {needed} points, complete and with values, before the first it judges"
    )


def detect_zscore(values: Values, spacing: Spacing, threshold: float) -> Found:
    """Judge each point by mean and deviation of all points, itself among them, as older systems do."""
    present = values[~np.isnan(values)]
    deviation = float(np.std(present, ddof=1)) if present.size > 1 and np.ptp(present) else 0.0
    if deviation == 0:
        nothing = np.full(values.size, np.nan)
        points = _points((nothing, nothing, nothing, nothing), threshold)
        return _found(
            points, spacing, (), "values that are all the same, or fewer than two, have no deviation"
        )
    mean = float(np.mean(present))
    bounds = (np.where(np.isnan(values), np.nan, mean + side * threshold * deviation) for side in (-1, 1))
    expected = np.where(np.isnan(values), np.nan, mean)
    points = _points((expected, *bounds, (values - mean) / deviation), threshold)
    return _found(points, spacing, _zscore_warnings(present.size, threshold), "")


def largest_zscore(n: int) -> float:
    """Return the largest score that one of n points can have, (n − 1) ÷ √n.

    Shiffler, "Maximum Z scores and outliers", The American Statistician 42, 1988.
    """
    return (n - 1) / math.sqrt(n)


def _zscore_warnings(n: int, threshold: float) -> tuple[str, ...]:
    largest = largest_zscore(n)
    if threshold <= largest:
        return ()
    bound = f"among {n} points no z-score exceeds {largest:.2f}"
    return (f"no point can be anomalous: {bound}, and the threshold is {threshold:g}",)


def _points(columns: tuple[Values, ...], threshold: float) -> tuple[Point, ...]:
    rows = zip(*(map(_present, column.tolist()) for column in columns), strict=True)
    return tuple(
        Point(at, expected, lower, upper, score, score is not None and abs(score) >= threshold)
        for at, (expected, lower, upper, score) in enumerate(rows)
    )


def _present(value: float) -> float | None:
    return None if math.isnan(value) else value


def _found(points: tuple[Point, ...], spacing: Spacing, warnings: tuple[str, ...], reason: str) -> Found:
    anomalies = tuple(_anomalies(points))
    judged = sum(point.score is not None for point in points)
    months = judged * spacing.seconds / SECONDS_PER_MONTH
    rate = len(anomalies) / months if judged else None
    return Found(points, anomalies, judged, rate, "" if judged else reason, warnings)


def _anomalies(points: tuple[Point, ...]) -> "Iterator[Anomaly]":
    for side, group in groupby(points, key=_side):
        if side:
            run = list(group)
            yield Anomaly(run[0].at, run[-1].at, max(run, key=lambda point: abs(point.score or 0.0)))


def _side(point: Point) -> int:
    return int(math.copysign(1, point.score)) if point.is_anomalous and point.score is not None else 0
