"""What was out of the ordinary, as the tab Predictions lists it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from brain.forecasting.v1 import anomalies_pb2

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from gateway.dashboard.predictions.readings import Reading


@dataclass(frozen=True, slots=True)
class Told:
    """Days in a row that were out of the ordinary."""

    when: str
    exact_time: str
    direction: str
    value: str
    expected: str
    ordinary: str
    score: str


@dataclass(frozen=True, slots=True)
class Unusual:
    """What was out of the ordinary, and how often this setting says so."""

    told: tuple[Told, ...]
    rate: str
    warnings: tuple[str, ...]


def against(point: anomalies_pb2.JudgedPoint, reading: "Reading") -> str:
    """Return a point's value beside what would have been ordinary."""
    ordinary = reading.between(point.lower, point.upper)
    return f"{reading.number(point.value)}, where {ordinary} is ordinary"


def unusual(found: anomalies_pb2.Anomalies, reading: "Reading") -> Unusual:
    """Return what was out of the ordinary, the latest first."""
    return Unusual(
        told=tuple(_told(each, reading) for each in reversed(found.anomalies)),
        rate=_rate(found),
        warnings=tuple(found.warnings),
    )


def _told(one: anomalies_pb2.Anomaly, reading: "Reading") -> Told:
    start = formats.moment(one.start_time)
    last = formats.moment(one.end_time) - timedelta(microseconds=1)
    peak = one.peak
    when = reading.label(start)
    if one.points > 1:
        when = formats.span(*(each.astimezone(reading.scope.zone).date() for each in (start, last)))
    return Told(
        when=when,
        exact_time=formats.exact_time(start, reading.scope.zone),
        direction="up" if one.direction == anomalies_pb2.ANOMALY_DIRECTION_UP else "down",
        value=reading.number(peak.value),
        expected=reading.number(peak.expected),
        ordinary=reading.between(peak.lower, peak.upper),
        score=f"{abs(peak.score):.1f}",
    )


def _rate(found: anomalies_pb2.Anomalies) -> str:
    if not found.HasField("alerts_per_month"):
        return f"Nothing could be judged: {found.reason}."
    rate = formats.significant(found.alerts_per_month)
    return f"This setting speaks {rate} times a month on this metric's own history, right or wrong."
