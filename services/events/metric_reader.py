"""Reads the metrics of events for MetricSourceService."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from brain.metrics.v1 import metrics_pb2 as pb

from services.events import messages, metric_questions, questions
from services.events.reading.by_property import BreakDown, PropertyCells
from services.events.reading.metric_groups import GROUPED
from services.events.reading.metrics import Metric, Point, Series
from services.events.reading.store import CellStore
from shared.intervals import INTERVAL_NUMBERS
from shared.timestamps import from_micros
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class MetricReader:
    """Describes and reads the metrics of events."""

    metrics: Mapping[str, Metric]
    cells: CellStore
    properties: PropertyCells
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def descriptors(self) -> dict[str, pb.MetricDescriptor]:
        """Return what each metric is, by its name."""
        return {name: _descriptor(metric) for name, metric in self.metrics.items()}

    def read(self, query: pb.MetricQuery, path: str) -> pb.MetricSeries:
        """Answer a query; its fields are named by its path."""
        metric = metric_questions.known(self.metrics, query.name)
        violations = Violations()
        question = questions.metric_question(violations, query, metric.intervals, self.reporting_zone)
        series = Series(
            question.intervals,
            question.interval,
            question.zone,
            metric_questions.labels(violations, metric, query.labels),
            metric_questions.filters(violations, metric, query.filters),
        )
        if question.break_down and metric.name not in GROUPED:
            violations.add("group_property", f"{metric.name} cannot be broken down by a property")
        violations.raise_if_any(prefix=f"{path}.")
        if not series.intervals:
            return _series(metric, [], series, self.clock())
        message = _series(metric, metric.read(self.cells, series), series, self.clock())
        if question.break_down:
            self._add_groups(message, metric, series, question.break_down)
        return message

    def _add_groups(
        self, message: pb.MetricSeries, metric: Metric, series: Series, break_down: BreakDown
    ) -> None:
        limit = break_down.page.limit
        one_more = replace(break_down, page=replace(break_down.page, limit=limit + 1))
        groups = GROUPED[metric.name](self.properties, series, one_more)
        for value, points in islice(groups.items(), limit):
            message.groups.add(group=value, points=_points(metric, points, series, self.clock()))
        message.has_more_groups = len(groups) > limit


def _series(metric: Metric, points: list[Point], series: Series, now: int) -> pb.MetricSeries:
    return pb.MetricSeries(
        time_zone=messages.zone_name(series.zone),
        points=_points(metric, points, series, now),
    )


def _points(metric: Metric, points: list[Point], series: Series, now: int) -> list[pb.MetricPoint]:
    return [
        pb.MetricPoint(
            start_time=from_micros(start),
            value=point.value,
            sample_size=point.sample_size,
            complete=(point.final_time or end) <= now,
            absent_reason=metric.absent_reason if point.value is None else "",
        )
        for point, (start, end) in zip(points, series.intervals, strict=True)
    ]


def _descriptor(metric: Metric) -> pb.MetricDescriptor:
    return pb.MetricDescriptor(
        name=metric.name,
        definition=metric.definition,
        unit=metric.unit,
        required_labels=metric.required_labels,
        intervals=[INTERVAL_NUMBERS[interval] for interval in metric.intervals],
        has_break_down=metric.name in GROUPED,
    )
