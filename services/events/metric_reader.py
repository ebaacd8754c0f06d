"""Reads the metrics of events for MetricSourceService."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from brain.metrics.v1 import metrics_pb2 as pb

from services.events import messages, metric_questions, questions
from services.events.reading.by_property import BreakDown, PropertyCells
from services.events.reading.metric_groups import GROUPED
from services.events.reading.metrics import Metric, OfCells, Point, Series
from services.events.reading.store import CellStore
from shared.errors import ServiceError
from shared.intervals import INTERVAL_NUMBERS
from shared.metric_source import query_path, tried
from shared.timestamps import from_micros
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query that is in order."""

    metric: Metric
    series: Series
    break_down: BreakDown | None


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
        return self._answered(self._asked(query, path))

    def read_all(self, queries: Sequence[pb.MetricQuery]) -> list[pb.MetricSeries | ServiceError]:
        """Answer queries as read() does, errors in their place; what is alike is read together."""
        asked = [tried(self._asked, query, query_path(place)) for place, query in enumerate(queries)]
        together = self._points_together(asked)
        return [
            each if isinstance(each, ServiceError) else tried(self._answered, each, together.get(place))
            for place, each in enumerate(asked)
        ]

    def _asked(self, query: pb.MetricQuery, path: str) -> _Asked:
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
        return _Asked(metric, series, question.break_down)

    def _points_together(self, asked: Sequence[_Asked | ServiceError]) -> dict[int, list[Point]]:
        """Return the points that could be read together with others, by their place."""
        readers = [
            (place, each.metric.read, each.series)
            for place, each in enumerate(asked)
            if isinstance(each, _Asked) and isinstance(each.metric.read, OfCells) and each.series.intervals
        ]
        points = {}
        for position, cells in self.cells.read_each([read.wanted(series) for _, read, series in readers]):
            place, read, series = readers[position]
            points[place] = read.points(series, cells)
        return points

    def _answered(self, asked: _Asked, points: list[Point] | None = None) -> pb.MetricSeries:
        metric, series = asked.metric, asked.series
        if points is None:
            points = metric.read(self.cells, series) if series.intervals else []
        message = _series(metric, points, series, self.clock())
        if series.intervals and asked.break_down:
            self._add_groups(message, metric, series, asked.break_down)
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
