"""Predictions that were kept, against what came."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dashboard.page import charts, formats
from gateway.dashboard.predictions.readings import level

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from brain.forecasting.v1 import predictions_pb2 as pb

    from gateway.dashboard.predictions.readings import Reading


@dataclass(frozen=True, slots=True)
class Scored:
    """How good predictions of one version were."""

    version: str
    predictions: str
    error: str
    smape: str
    mase: str
    covered: str
    bias: str
    accuracy: str


@dataclass(frozen=True, slots=True)
class Predicted:
    """The predictions of the days shown."""

    scored: tuple[Scored, ...]
    pending: str
    chart: charts.Chart | None
    rows: tuple[tuple[str, ...], ...]
    # What the list leaves out.
    note: str


def predicted(
    listed: "pb.ListPredictionsResponse", scores: "pb.GetPredictionAccuracyResponse", reading: "Reading"
) -> Predicted:
    """Return what was said last of each day, beside what came."""
    latest = last_said(listed.predictions)
    return Predicted(
        scored=tuple(_scored(each, reading) for each in scores.accuracies),
        pending=formats.whole(scores.pending),
        chart=_chart(latest, reading) if latest else None,
        rows=tuple(_row(each, reading) for each in reversed(latest)),
        note="Only the latest thousand predictions are drawn." if listed.next_page_token else "",
    )


def last_said(predictions: "Iterable[pb.Prediction]") -> "list[pb.Prediction]":
    """Return one prediction for each period, in order: the one with the shortest horizon, then the newest."""
    best: dict[int, pb.Prediction] = {}
    for one in predictions:
        start = one.period.start_time.ToMicroseconds()
        if start not in best or _rank(one) < _rank(best[start]):
            best[start] = one
    return [best[start] for start in sorted(best)]


def _rank(one: "pb.Prediction") -> tuple[int, int]:
    return one.horizon, -one.created_time.ToMicroseconds()


def _chart(latest: "Sequence[pb.Prediction]", reading: "Reading") -> charts.Chart:
    came = [each.actual for each in latest]
    said = [each.predicted for each in latest]
    ends = [
        (each.interval.lower, each.interval.upper) if each.HasField("interval") else None for each in latest
    ]
    axis = charts.axis(
        [*came, *said, *(end for pair in ends if pair is not None for end in pair)], whole=reading.whole
    )
    starts = [formats.moment(each.period.start_time) for each in latest]
    series = (charts.Series("Came", tuple(came), len(came)), charts.Series("Said", tuple(said), len(said)))
    levels = {each.interval.level_ratio for each in latest if each.HasField("interval")}
    name = f"{level(min(levels))} interval" if len(levels) == 1 else "Interval"
    return charts.Chart(
        description=f"{reading.choice.metric}: {len(latest)} predictions beside what came",
        lines=tuple(charts.line(one, place, axis[0], axis[-1]) for place, one in enumerate(series)),
        levels=charts.levels(axis, [reading.axis_label(each) for each in axis]),
        moments=charts.moments([reading.short_label(start) for start in starts]),
        columns=charts.columns([_text(each, reading) for each in latest]),
        bands=(charts.band(name, 0, ends, axis),) if levels else (),
    )


def _text(one: "pb.Prediction", reading: "Reading") -> str:
    when = reading.label(formats.moment(one.period.start_time))
    return f"{when}\nCame: {reading.number(one.actual)}\nSaid: {reading.number(one.predicted)}"


def _row(one: "pb.Prediction", reading: "Reading") -> tuple[str, ...]:
    interval, inside = formats.NOTHING, formats.NOTHING
    if one.HasField("interval"):
        interval = reading.between(one.interval.lower, one.interval.upper)
        inside = "yes" if one.interval.lower <= one.actual <= one.interval.upper else "no"
    return (
        reading.label(formats.moment(one.period.start_time)),
        reading.number(one.predicted),
        reading.number(one.actual),
        reading.number(abs(one.predicted - one.actual)),
        interval,
        inside,
    )


def _scored(one: "pb.PredictionAccuracy", reading: "Reading") -> Scored:
    covered = formats.NOTHING
    if one.HasField("covered_ratio"):
        covered = f"{formats.percent(one.covered_ratio)} of {formats.percent(one.level_ratio)}"
    sign = "+" if one.bias > 0 else formats.MINUS if one.bias < 0 else ""
    return Scored(
        version=one.model_version,
        predictions=formats.whole(one.predictions),
        error=reading.number(one.mean_absolute_error),
        smape=formats.percent(one.smape_ratio),
        mase=formats.significant(one.mase) if one.HasField("mase") else formats.NOTHING,
        covered=covered,
        bias=f"{sign}{reading.number(abs(one.bias))}",
        accuracy=formats.percent(one.accuracy_ratio),
    )
