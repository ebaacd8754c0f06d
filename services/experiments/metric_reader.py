"""Reads the metrics of experiments for MetricSourceService."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.metrics.v1 import metrics_pb2 as pb

from services.experiments.domain import Experiment
from services.experiments.lifecycle import store as experiments
from services.experiments.results import store
from services.experiments.results.course import read_course
from services.experiments.results.reader import ResultReader
from services.experiments.results.report import report
from services.experiments.stats.values import Undefined
from shared.calendar import Interval
from shared.intervals import INTERVAL_NUMBERS, series_of
from shared.metric_source import check_known, labels_of
from shared.timestamps import from_micros
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection, Engine

    from services.experiments.results.report import Report

# Each point of an experiment's own metrics reads its results as they stood.
MAXIMUM_POINTS = 120
PARTICIPANTS, EFFECT, SAMPLE_RATIO = (
    "experiment_participants",
    "experiment_effect",
    "experiment_srm_p_value",
)
_INTERVALS = (Interval.DAY, Interval.WEEK, Interval.MONTH)
METRICS = {
    each.name: each
    for each in (
        pb.MetricDescriptor(
            name=EFFECT,
            definition="Difference of a variant's metric from the control's, as it stood at the end.",
            unit="the metric's",
            required_labels=["experiment_id", "metric", "variant"],
            intervals=[INTERVAL_NUMBERS[each] for each in _INTERVALS],
        ),
        pb.MetricDescriptor(
            name=PARTICIPANTS,
            definition="Times that somebody began to take part in an experiment, over all experiments.",
            unit="participations",
            intervals=[INTERVAL_NUMBERS[each] for each in _INTERVALS],
        ),
        pb.MetricDescriptor(
            name=SAMPLE_RATIO,
            definition="Chance of a split as far off the allocation, as it stood at the end; below 0.001 the "
            "split is broken.",
            unit="probability",
            required_labels=["experiment_id"],
            intervals=[INTERVAL_NUMBERS[each] for each in _INTERVALS],
        ),
    )
}


@dataclass(frozen=True, slots=True)
class _Point:
    value: float | Undefined
    sample_size: int


@dataclass(frozen=True)
class MetricReader:
    """Reads the metrics of experiments."""

    engine: "Engine"
    reader: ResultReader
    clock: Callable[[], int]
    reporting_zone: "ZoneInfo"

    def read(self, query: pb.MetricQuery, path: str) -> pb.MetricSeries:
        """Answer a query; its fields are named by its path."""
        check_known(query.name, METRICS)
        violations = Violations()
        series = series_of(violations, query, _INTERVALS, self.reporting_zone, MAXIMUM_POINTS)
        required = METRICS[query.name].required_labels
        labels = labels_of(violations, query.name, required, query.labels)
        if query.filters:
            violations.add("filters", "experiments have no properties to filter by")
        violations.raise_if_any(prefix=f"{path}.")
        now = self.clock()
        points = self._points(query.name, labels, series.units, path) if series.units else []
        return pb.MetricSeries(
            time_zone=series.zone.key,
            points=[
                pb.MetricPoint(
                    start_time=from_micros(start),
                    value=None if isinstance(point.value, Undefined) else point.value,
                    sample_size=point.sample_size,
                    complete=end <= now,
                    absent_reason=point.value.reason if isinstance(point.value, Undefined) else "",
                )
                for (start, end), point in zip(series.units, points, strict=True)
            ],
        )

    def _points(
        self, name: str, labels: dict[str, str], spans: Sequence[tuple[int, int]], path: str
    ) -> list[_Point]:
        with (
            self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
            connection.begin(),
        ):
            if name == PARTICIPANTS:
                boundaries = [spans[0][0], *(end for _, end in spans)]
                return [_Point(float(each), each) for each in store.participations(connection, boundaries)]
            experiment = experiments.read(connection, labels["experiment_id"]).experiment
            if name == SAMPLE_RATIO:
                return _sample_ratios(connection, experiment, [end for _, end in spans])
            _check_labels(experiment, labels, path)
            return self._effects(connection, experiment, labels, [end for _, end in spans])

    def _effects(
        self, connection: "Connection", experiment: Experiment, labels: dict[str, str], ends: Sequence[int]
    ) -> list[_Point]:
        metric = experiment.metric(labels["metric"])
        position = experiment.position(labels["variant"])
        assert metric is not None, "checked before"
        assert position is not None, "checked before"
        course = self.reader.course(connection, experiment, [metric], ends)
        return [_effect(report(experiment, totals, [metric]), position) for totals in course]


def _effect(found: "Report", position: int) -> _Point:
    analysis = found.metrics[0].variants[position].analysis
    assert analysis is not None, "treatments are compared"
    return _Point(analysis.comparison.absolute_effect, found.participants)


def _check_labels(experiment: Experiment, labels: dict[str, str], path: str) -> None:
    violations = Violations()
    if experiment.metric(labels["metric"]) is None:
        violations.add("labels[metric]", f"is none of {experiment.key}")
    if not experiment.position(labels["variant"]):
        violations.add("labels[variant]", f"is no treatment of {experiment.key}")
    violations.raise_if_any(prefix=f"{path}.")


def _sample_ratios(connection: "Connection", experiment: Experiment, ends: Sequence[int]) -> list[_Point]:
    course = [report(experiment, totals, []) for totals in read_course(connection, experiment, [], ends)]
    return [_Point(found.sample_ratio, found.participants) for found in course]
