"""Questions to the service and its answers in the terms of the file."""

from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery, MetricSeries, ReadMetricsRequest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service
from tests.services.events.shop.lines import Count


def stamp(moment: datetime) -> Timestamp:
    return Timestamp(seconds=int(moment.timestamp()))


def time_range(start: datetime, end: datetime) -> TimeRange:
    return TimeRange(start_time=stamp(start), end_time=stamp(end))


def local(day: date, zone: ZoneInfo) -> datetime:
    """Return midnight on a wall clock. (None of the zones asked about skips it.)"""
    return datetime.combine(day, time(), zone)


FIRST_DAY, DAY_AFTER = date(2010, 12, 1), date(2011, 12, 10)
START, END = datetime(2010, 12, 1, tzinfo=UTC), datetime(2011, 12, 10, tzinfo=UTC)
WHOLE = time_range(START, END)


def moment(message: Timestamp, zone: ZoneInfo | None = None) -> datetime:
    found = datetime.fromtimestamp(message.seconds, UTC)
    return found.astimezone(zone) if zone else found


def count(message: pb.EventCount) -> Count:
    return Count(message.events, message.users, message.value_sum)


def pages(service: Service, request: pb.CountEventsRequest) -> Iterator[pb.EventCount]:
    """Ask for page after page."""
    while True:
        answer = service.events.CountEvents(request)
        yield from answer.counts
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def listed(service: Service, request: pb.QueryEventsRequest) -> Iterator[pb.Event]:
    """Ask for page after page."""
    while True:
        answer = service.events.QueryEvents(request)
        assert len(answer.events) == request.page_size or not answer.next_page_token
        yield from answer.events
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


def series(service: Service, queries: Iterable[MetricQuery]) -> list[MetricSeries]:
    results = service.metrics.ReadMetrics(ReadMetricsRequest(queries=queries)).results
    assert [result.error.message for result in results if result.HasField("error")] == []
    return [result.series for result in results]
