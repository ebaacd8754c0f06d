"""MetricSourceService of events."""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, cast

from brain.metrics.v1 import metrics_pb2 as pb
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceServicer

from services.events import messages, questions
from services.events.reading.metrics import METRICS as READING_METRICS
from services.events.reading.metrics import Metric, Point, Series
from services.events.reading.store import CellStore
from services.events.retention.metrics import METRICS as RETENTION_METRICS
from shared.errors import NotFound, ServiceError
from shared.pagination import decode_token, encode_token
from shared.timestamps import from_micros
from shared.validation import Violations, page_size, text

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc

MAXIMUM_QUERIES = 1_000
SHOWN_CHARACTERS = 100
METRICS = READING_METRICS | RETENTION_METRICS


@dataclass(frozen=True)
class MetricServicer(MetricSourceServiceServicer):
    """Lists and reads the metrics of events."""

    cells: CellStore
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def ListMetrics(
        self, request: pb.ListMetricsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListMetricsResponse:
        """List the metrics by name."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (str,))
        violations.raise_if_any()
        names = sorted(name for name in METRICS if not after or name > cast("str", after[0]))
        page = names[:size]
        return pb.ListMetricsResponse(
            metrics=[_descriptor(METRICS[name]) for name in page],
            next_page_token=encode_token(request, [page[-1]]) if len(names) > size else "",
        )

    def ReadMetric(
        self, request: pb.ReadMetricRequest, context: "grpc.ServicerContext"
    ) -> pb.ReadMetricResponse:
        """Read one series."""
        return pb.ReadMetricResponse(series=self._read(request.query, "query"))

    def ReadMetrics(
        self, request: pb.ReadMetricsRequest, context: "grpc.ServicerContext"
    ) -> pb.ReadMetricsResponse:
        """Read many series; errors stay in their place."""
        violations = Violations()
        if not 0 < len(request.queries) <= MAXIMUM_QUERIES:
            violations.add("queries", f"must hold 1 to {MAXIMUM_QUERIES:,}")
        violations.raise_if_any()
        return pb.ReadMetricsResponse(
            results=[self._result(query, f"queries[{index}]") for index, query in enumerate(request.queries)]
        )

    def _result(self, query: pb.MetricQuery, path: str) -> pb.MetricResult:
        try:
            return pb.MetricResult(series=self._read(query, path))
        except ServiceError as error:
            return pb.MetricResult(error=error.to_status())

    def _read(self, query: pb.MetricQuery, path: str) -> pb.MetricSeries:
        metric = _known(query.name)
        violations = Violations()
        question = questions.metric_question(violations, query, metric.intervals, self.reporting_zone)
        series = Series(
            question.intervals,
            question.interval,
            question.zone,
            _labels(violations, metric, query),
            messages.conditions(violations, "filters", query.filters),
        )
        violations.raise_if_any(prefix=f"{path}.")
        points = metric.read(self.cells, series) if series.intervals else []
        return _series(points, series, self.clock())


def _known(name: str) -> Metric:
    if name not in METRICS:
        shown = name[:SHOWN_CHARACTERS]  # a longer message would be cut before it says what there is
        nearest = ", ".join(get_close_matches(shown, METRICS, 3, 0.5)) or ", ".join(sorted(METRICS))
        raise NotFound(f"there is no metric {shown!r} here; there is {nearest}", "METRIC_UNKNOWN")
    return METRICS[name]


def _labels(violations: Violations, metric: Metric, query: pb.MetricQuery) -> dict[str, str]:
    for label in query.labels:
        if label not in metric.required_labels:
            violations.add(f"labels[{label}]", f"is not a label of {metric.name}")
    return {
        label: text(violations, f"labels[{label}]", query.labels.get(label, ""), maximum=200)
        for label in metric.required_labels
    }


def _series(points: list[Point], series: Series, now: int) -> pb.MetricSeries:
    return pb.MetricSeries(
        time_zone=messages.zone_name(series.zone),
        points=[
            pb.MetricPoint(
                start_time=from_micros(start),
                value=point.value,
                sample_size=point.sample_size,
                complete=end <= now,
            )
            for point, (start, end) in zip(points, series.intervals, strict=True)
        ],
    )


def _descriptor(metric: Metric) -> pb.MetricDescriptor:
    return pb.MetricDescriptor(
        name=metric.name,
        definition=metric.definition,
        unit=metric.unit,
        required_labels=metric.required_labels,
        intervals=[messages.INTERVAL_NUMBERS[interval] for interval in metric.intervals],
    )
