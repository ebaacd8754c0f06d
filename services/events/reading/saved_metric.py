"""The metric `saved`: what callers computed and keep here."""

from bisect import bisect_right
from typing import TYPE_CHECKING

from services.events.reading.metrics import ALL_INTERVALS, Metric, Point, Series
from services.events.saved_metrics.points import read_values

if TYPE_CHECKING:
    from services.events.reading.store import CellStore


def _saved(store: "CellStore", series: Series) -> list[Point]:
    starts = [start for start, _ in series.intervals]
    span = (starts[0], series.intervals[-1][1])
    points = [Point(None, 0)] * len(starts)
    for time, value in read_values(store.engine, series.labels["name"], series.interval, span):
        position = bisect_right(starts, time) - 1
        points[position] = Point(value, points[position].sample_size + 1)
    return points


METRICS = (
    Metric(
        "saved",
        "What was saved under the name with SaveMetric, for the period of the interval's length; of several"
        " points in an interval the latest.",
        "value",
        ALL_INTERVALS,
        _saved,
        ("name",),
        absent_reason="nothing was saved for the interval",
        takes_filters=False,
    ),
)
