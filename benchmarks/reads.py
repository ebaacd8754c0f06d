"""Reads: three questions about 90 days, over gRPC, beside the same ones to ClickHouse in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.common.v1.common_pb2 import INTERVAL_DAY, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricsRequest
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import clickhouse, data, measuring
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    import grpc

    from benchmarks.clickhouse import ClickHouse
    from benchmarks.stack import Metadata
    from benchmarks.stored import Stored

BAR_SECONDS = 0.010


@dataclass(frozen=True)
class Question:
    """A question to the service, the same one in SQL, and how many times faster the service must be."""

    name: str
    ask: Callable[[], list[int]]
    sql: str
    least_ratio: float


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure `count` stored events, `calls` calls of each question."""
    database = stored.database(count)
    with (
        clickhouse.loaded(stored.stack.directory / "clickhouse_reads", stored.columns(count)) as reference,
        stored.stack.service(database) as service,
        service.channel() as channel,
    ):
        return [
            _compare(question, reference, calls)
            for question in questions(channel, service.metadata, stored.now)
        ]


def questions(channel: "grpc.Channel", metadata: "Metadata", now: int) -> list[Question]:
    """Return the questions about the 90 days that end with the UTC day of `now`."""
    events, metrics = EventsServiceStub(channel), MetricSourceServiceStub(channel)
    first = data.first_day(now)
    span = TimeRange(start_time=_midnight(first), end_time=_midnight(first + data.DAYS))
    month = pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_MONTH)
    top = pb.GetTopEventsRequest(time_range=span)
    query = MetricQuery(name="dau", interval=INTERVAL_DAY, time_range=span)
    series = ReadMetricsRequest(queries=[query])

    def monthly() -> list[int]:
        return [each.users for each in events.GetActiveUsers(month, metadata=metadata).active_users]

    def most_frequent() -> list[int]:
        return [each.events for each in events.GetTopEvents(top, metadata=metadata).top_events]

    def daily() -> list[int]:
        [result] = metrics.ReadMetrics(series, metadata=metadata).results
        return [int(point.value) for point in result.series.points]

    since = f"time >= toDateTime64('{_date(first)} 00:00:00', 6, 'UTC')"
    trailing = f"time >= toDateTime64('{_date(first + data.DAYS - 30)} 00:00:00', 6, 'UTC')"
    return [
        Question(
            "monthly active users, now", monthly, f"SELECT uniqExact(user) FROM events WHERE {trailing}", 10
        ),
        Question(
            "top 10 events of 90 days",
            most_frequent,
            f"SELECT count() AS n FROM events WHERE {since} GROUP BY event ORDER BY n DESC LIMIT 10",
            1,
        ),
        Question(
            "daily active users of 90 days",
            daily,
            f"SELECT uniqExact(user) FROM events WHERE {since} GROUP BY toDate(time) ORDER BY toDate(time)",
            10,
        ),
    ]


def _compare(question: Question, reference: "ClickHouse", calls: int) -> Line:
    theirs = [int(line) for line in reference.ask(question.sql).split()]
    if question.ask() != theirs:
        raise RuntimeError(f"{question.name}: {question.ask()} here, {theirs} in ClickHouse")
    here, there = measuring.medians([question.ask, lambda: reference.ask(question.sql)], calls)
    return Line(
        question.name,
        milliseconds(here),
        f"ClickHouse {milliseconds(there)}",
        f"{there / here:.1f} times as fast",
        f"≤ {milliseconds(BAR_SECONDS)}, ≥ {question.least_ratio:g} times",
        here <= BAR_SECONDS and there / here >= question.least_ratio,
    )


def _midnight(day: int) -> Timestamp:
    return Timestamp(seconds=day * 86_400)


def _date(day: int) -> str:
    return _midnight(day).ToDatetime().date().isoformat()
