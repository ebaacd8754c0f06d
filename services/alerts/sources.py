"""The services whose metrics are read: many series in a call, each call with a deadline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from brain.metrics.v1 import metrics_pb2 as pb
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub

from services.alerts.windows import Point
from shared.clients import open_channel
from shared.timestamps import from_micros, to_micros

if TYPE_CHECKING:
    from contextlib import ExitStack

    from services.alerts.config import AlertsSettings
    from services.alerts.looking import Answer

_SHOWN = 500


@dataclass(frozen=True, slots=True)
class Wanted:
    """A series to read: a MetricQuery without its range, and the range in Unix microseconds."""

    query: bytes
    start: int
    end: int


class SourceAwayError(Exception):
    """No replica of a service answers; the message is for the history."""


@dataclass(frozen=True)
class Source:
    """A service that has metrics."""

    name: str
    stub: MetricSourceServiceStub
    deadline_seconds: float

    def read(self, wanted: Sequence[Wanted]) -> "list[Answer]":
        """Return the points of each series, or why there are none; raise SourceAwayError where it is down."""
        distinct = list(dict.fromkeys(wanted))
        request = pb.ReadMetricsRequest(queries=map(_query, distinct))
        try:
            results = self.stub.ReadMetrics(request, timeout=self.deadline_seconds).results
        except grpc.RpcError as error:
            words = f"{self.name}: {_words(error)}"
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                raise SourceAwayError(words) from error
            return [words] * len(wanted)
        if len(results) != len(distinct):
            return [f"{self.name}: answered {len(results)} of {len(distinct)} series"] * len(wanted)
        answers = dict(zip(distinct, map(self._answer, results), strict=True))
        return [answers[each] for each in wanted]

    def read_one(self, wanted: Wanted) -> pb.MetricSeries:
        """Return one series; raise what the service raises."""
        request = pb.ReadMetricRequest(query=_query(wanted))
        return self.stub.ReadMetric(request, timeout=self.deadline_seconds).series

    def _answer(self, result: pb.MetricResult) -> "Answer":
        if result.HasField("error"):
            code = _CODES.get(result.error.code, "UNKNOWN")
            return f"{self.name}: {code}: {result.error.message[:_SHOWN]}"
        return points(result.series)


_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


def points(series: pb.MetricSeries) -> list[Point]:
    """Return the points of a series."""
    return [
        Point(
            to_micros(each.start_time) or 0,
            each.value if each.HasField("value") else None,
            each.sample_size,
            each.complete,
        )
        for each in series.points
    ]


def open_sources(settings: "AlertsSettings", opened: "ExitStack") -> Mapping[str, Source]:
    """Return the services of the settings by name; `opened` closes their channels."""
    token, tls = settings.sources_token_file, settings.sources_tls
    found = {}
    for name, address in settings.metric_sources.items():
        stub = MetricSourceServiceStub(open_channel(address, token, tls, opened))
        found[name] = Source(name, stub, settings.poll_seconds)
    return found


def _query(wanted: Wanted) -> pb.MetricQuery:
    query = pb.MetricQuery.FromString(wanted.query)
    query.time_range.start_time.CopyFrom(from_micros(wanted.start))
    query.time_range.end_time.CopyFrom(from_micros(wanted.end))
    return query


def _words(error: grpc.RpcError) -> str:
    code = getattr(error, "code", lambda: None)()
    details = getattr(error, "details", lambda: "")() or ""
    return f"{code.name if code else 'UNKNOWN'}: {details[:_SHOWN]}"
