"""MetricSourceService, as every service that has metrics answers it: lists, and many queries in one call."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from brain.metrics.v1 import metrics_pb2 as pb
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceServicer

from shared.errors import NotFound, ServiceError
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size, text

if TYPE_CHECKING:
    import grpc

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

MAXIMUM_QUERIES = 1_000
_SHOWN_CHARACTERS = 100


@dataclass(frozen=True)
class MetricSource(MetricSourceServiceServicer):
    """Lists and reads metrics.

    `descriptors` are the metrics by name. `read` answers a query or raises ServiceError, and names fields by
    the path of the query, its second argument. `read_all` answers the queries of one call as `read` would,
    errors in their place, where that is quicker than one after another.
    """

    descriptors: Mapping[str, pb.MetricDescriptor]
    read: Callable[[pb.MetricQuery, str], pb.MetricSeries]
    read_all: Callable[[Sequence[pb.MetricQuery]], Sequence[pb.MetricSeries | ServiceError]] | None = None

    def ListMetrics(
        self, request: pb.ListMetricsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListMetricsResponse:
        """List the metrics by name."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (str,))
        violations.raise_if_any()
        names = sorted(name for name in self.descriptors if not after or name > cast("str", after[0]))
        page = names[:size]
        return pb.ListMetricsResponse(
            metrics=[self.descriptors[name] for name in page],
            next_page_token=encode_token(request, [page[-1]]) if len(names) > size else "",
        )

    def ReadMetric(
        self, request: pb.ReadMetricRequest, context: "grpc.ServicerContext"
    ) -> pb.ReadMetricResponse:
        """Read one series."""
        return pb.ReadMetricResponse(series=self.read(request.query, "query"))

    def ReadMetrics(
        self, request: pb.ReadMetricsRequest, context: "grpc.ServicerContext"
    ) -> pb.ReadMetricsResponse:
        """Read many series; errors stay in their place."""
        violations = Violations()
        if not 0 < len(request.queries) <= MAXIMUM_QUERIES:
            violations.add("queries", f"must hold 1 to {MAXIMUM_QUERIES:,}")
        violations.raise_if_any()
        read_all = self.read_all or self._one_by_one
        return pb.ReadMetricsResponse(results=map(_result, read_all(request.queries)))

    def _one_by_one(self, queries: Sequence[pb.MetricQuery]) -> list[pb.MetricSeries | ServiceError]:
        return [tried(self.read, query, query_path(place)) for place, query in enumerate(queries)]


def query_path(place: int) -> str:
    """Return how a query of ReadMetrics is named."""
    return f"queries[{place}]"


def tried(
    act: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
) -> Result | ServiceError:
    """Return what is returned, or the ServiceError that is raised."""
    try:
        return act(*args, **kwargs)
    except ServiceError as error:
        return error


def _result(answer: pb.MetricSeries | ServiceError) -> pb.MetricResult:
    if isinstance(answer, ServiceError):
        return pb.MetricResult(error=answer.to_status())
    return pb.MetricResult(series=answer)


def check_known(name: str, known: Iterable[str]) -> None:
    """Raise NotFound that names the nearest metrics where there is none of this name."""
    names = sorted(known)
    if name not in names:
        shown = name[:_SHOWN_CHARACTERS]  # a longer message would be cut before it says what there is
        nearest = ", ".join(get_close_matches(shown, names, 3, 0.5) or names)
        raise NotFound(f"there is no metric {shown!r} here; there is {nearest}", "METRIC_UNKNOWN")


def labels_of(
    violations: Violations, name: str, required: Iterable[str], given: Mapping[str, str]
) -> dict[str, str]:
    """Return the labels that a metric needs; the caller raises."""
    needed = list(required)
    for label in given:
        if label not in needed:
            violations.add(f"labels[{label}]", f"is not a label of {name}")
    return {
        label: text(violations, f"labels[{label}]", given.get(label, ""), maximum=200) for label in needed
    }
