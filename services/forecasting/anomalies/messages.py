"""How anomalies are asked for and told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

from brain.forecasting.v1 import anomalies_pb2 as pb

from services.forecasting.anomalies.detection import (
    Anomaly,
    Found,
    Method,
    Point,
    Spacing,
    detect_seasonal,
    detect_zscore,
)
from services.forecasting.series import dates_of
from shared.timestamps import from_micros
from shared.validation import Violations, chosen

if TYPE_CHECKING:
    from services.forecasting.series import Grid

_METHODS = {
    pb.ANOMALY_METHOD_UNSPECIFIED: Method.SEASONAL,
    pb.ANOMALY_METHOD_SEASONAL: Method.SEASONAL,
    pb.ANOMALY_METHOD_ZSCORE: Method.ZSCORE,
}
MEDIUM = 3.0
_THRESHOLDS = {
    pb.SENSITIVITY_UNSPECIFIED: MEDIUM,
    pb.SENSITIVITY_LOW: 4.0,
    pb.SENSITIVITY_MEDIUM: MEDIUM,
    pb.SENSITIVITY_HIGH: 2.5,
}
_MAXIMUM_THRESHOLD = 1_000


@dataclass(frozen=True, slots=True)
class Judging:
    """How to judge: method, threshold in deviations, days that were closed."""

    method: Method = Method.SEASONAL
    threshold: float = MEDIUM
    closed: frozenset[date] = frozenset()


def judging(violations: Violations, field: str, options: pb.AnomalyOptions) -> Judging:
    """Return how to judge."""
    method = chosen(violations, f"{field}.method", options.method, _METHODS)
    threshold = chosen(violations, f"{field}.sensitivity", options.sensitivity, _THRESHOLDS)
    if options.HasField("threshold"):
        threshold = options.threshold
        if not (math.isfinite(threshold) and 0 < threshold <= _MAXIMUM_THRESHOLD):
            violations.add(f"{field}.threshold", f"must be above 0 and at most {_MAXIMUM_THRESHOLD:,}")
    calendar, path = options.calendar, f"{field}.calendar"
    dates_of(violations, f"{path}.holidays", calendar.holidays)
    return Judging(method, threshold, dates_of(violations, f"{path}.closures", calendar.closures))


def judge(grid: "Grid", asked: Judging, *, is_count: bool) -> Found:
    """Judge a series."""
    values = grid.without(asked.closed).values
    spacing = Spacing[grid.interval.name]
    if asked.method is Method.ZSCORE:
        return detect_zscore(values, spacing, asked.threshold)
    return detect_seasonal(values, spacing, asked.threshold, is_count=is_count)


def to_message(grid: "Grid", found: Found, threshold: float, since: int) -> pb.Anomalies:
    """Return what was found of units that begin at `since` or later."""
    shown = [point for point in found.points if grid.units[point.at][0] >= since]
    first = shown[0].at if shown else len(grid.units)
    return pb.Anomalies(
        points=[_point(grid, point) for point in shown],
        anomalies=[_anomaly(grid, each) for each in found.anomalies if each.end >= first],
        threshold=threshold,
        alerts_per_month=found.alerts_per_month,
        reason=found.reason,
        judged_points=found.judged,
        warnings=found.warnings,
    )


def _point(grid: "Grid", point: Point) -> pb.JudgedPoint:
    value = float(grid.values[point.at])
    return pb.JudgedPoint(
        start_time=from_micros(grid.units[point.at][0]),
        value=None if math.isnan(value) else value,
        expected=point.expected,
        lower=point.lower,
        upper=point.upper,
        score=point.score,
        anomalous=point.is_anomalous,
    )


def _anomaly(grid: "Grid", anomaly: Anomaly) -> pb.Anomaly:
    above = (anomaly.peak.score or 0.0) > 0
    return pb.Anomaly(
        start_time=from_micros(grid.units[anomaly.start][0]),
        end_time=from_micros(grid.units[anomaly.end][1]),
        direction=pb.ANOMALY_DIRECTION_UP if above else pb.ANOMALY_DIRECTION_DOWN,
        peak=_point(grid, anomaly.peak),
        points=anomaly.end - anomaly.start + 1,
    )


# What is measured rather than counted.
_MEASURED = frozenset({"ratio", "currency", "seconds", "probability"})


def counts(unit: str, values: Sequence[float]) -> bool:
    """Return whether a metric of this unit counts something."""
    return unit not in _MEASURED and all(
        math.isnan(value) or (value >= 0 and value == int(value)) for value in values
    )
