"""What is asked about 90 days of events, of the service and, where it holds what is needed, of ClickHouse."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    Interval,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import cohorts_pb2, retention_pb2
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricsRequest
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import data

if TYPE_CHECKING:
    import grpc

    from benchmarks.stack import Metadata

_DAY_SECONDS = 86_400
_PAGE = 100
_WEEKS = 12
_PEOPLE = 1_000
_PERSON = 7


@dataclass(frozen=True)
class Question:
    """A question to the service, and the same one in SQL.

    sql: to ClickHouse; bare: to PostgreSQL, of the rows of events; least_ratio: how many times faster than
    ClickHouse the service must be.
    """

    name: str
    ask: Callable[[], list[int]]
    sql: str | None = None
    least_ratio: float | None = None
    bare: str | None = None


class Questions:
    """Asks about the 90 days that end with the UTC day of `now`, in Unix µs."""

    def __init__(self, channel: "grpc.Channel", metadata: "Metadata", now: int) -> None:
        self._events, self._metrics = EventsServiceStub(channel), MetricSourceServiceStub(channel)
        self._metadata = metadata
        self._first = data.first_day(now)
        self._span = self._days(0, data.DAYS)
        self._since = f"time >= {_moment(self._first)}"
        self._rows_since = f"FROM events.events WHERE event_time >= '{_date(self._first)} 00:00Z'"

    def all(self) -> Iterator[Question]:
        """Yield every question."""
        yield from self.with_bars()
        yield self._of_each_name()
        yield self._of_all(INTERVAL_HOUR, "toStartOfHour", "UTC")
        yield self._of_all(INTERVAL_DAY, "toStartOfDay", "Asia/Kolkata")
        yield self._hourly()
        yield self._newest()
        yield self._of_one_person()
        yield self._stickiness()
        yield from self._beside_nothing()

    def with_bars(self) -> Iterator[Question]:
        """Yield those that must be quick."""
        yield self._monthly()
        yield self._top()
        yield self._daily()

    def _days(self, first: int, after: int) -> TimeRange:
        """Return a range of days, counted from the first of all."""
        return TimeRange(start_time=_midnight(self._first + first), end_time=_midnight(self._first + after))

    def _monthly(self) -> Question:
        request = pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_MONTH)

        def ask() -> list[int]:
            answer = self._events.GetActiveUsers(request, metadata=self._metadata)
            return [each.users for each in answer.active_users]

        since = _moment(self._first + data.DAYS - 30)
        sql = f"SELECT uniqExact(user) FROM events WHERE time >= {since}"
        month_since = f"FROM events.events WHERE event_time >= '{_date(self._first + data.DAYS - 30)} 00:00Z'"
        bare = f"SELECT count(DISTINCT user_key) {month_since}"
        return Question("monthly active users, now", ask, sql, 10, bare)

    def _top(self) -> Question:
        request = pb.GetTopEventsRequest(time_range=self._span)

        def ask() -> list[int]:
            answer = self._events.GetTopEvents(request, metadata=self._metadata)
            return [each.events for each in answer.top_events]

        sql = f"SELECT count() AS n FROM events WHERE {self._since} GROUP BY event ORDER BY n DESC LIMIT 10"
        bare = f"SELECT count(*) {self._rows_since} GROUP BY event_key ORDER BY 1 DESC LIMIT 10"
        return Question("top 10 events of 90 days", ask, sql, 1, bare)

    def _daily(self) -> Question:
        ask = self._series("dau", INTERVAL_DAY, self._span)
        sql = (
            f"SELECT uniqExact(user) FROM events WHERE {self._since} GROUP BY toDate(time)"
            " ORDER BY toDate(time)"
        )
        day = "date_trunc('day', event_time, 'UTC')"
        bare = f"SELECT count(DISTINCT user_key) {self._rows_since} GROUP BY {day} ORDER BY {day}"
        return Question("daily active users of 90 days", ask, sql, 10, bare)

    def _hourly(self) -> Question:
        name = data.name(0)
        ask = self._series("event_count", INTERVAL_HOUR, self._days(80, 87), event=name)
        since, until = _moment(self._first + 80), _moment(self._first + 87)
        sql = (
            f"SELECT count() FROM events WHERE event = '{name}' AND time >= {since} AND time < {until}"
            " GROUP BY toStartOfHour(time) ORDER BY toStartOfHour(time)"
        )
        return Question("one event hour by hour, 7 days", ask, sql)

    def _series(
        self, name: str, interval: Interval.ValueType, span: TimeRange, **labels: str
    ) -> Callable[[], list[int]]:
        query = MetricQuery(name=name, interval=interval, time_range=span, labels=labels)
        request = ReadMetricsRequest(queries=[query])

        def ask() -> list[int]:
            [result] = self._metrics.ReadMetrics(request, metadata=self._metadata).results
            return [int(point.value) for point in result.series.points if point.value]

        return ask

    def _of_each_name(self) -> Question:
        request = pb.CountEventsRequest(
            time_range=self._span, interval=INTERVAL_DAY, group_by=pb.COUNT_GROUP_EVENT
        )

        def ask() -> list[int]:
            answer = self._events.CountEvents(request, metadata=self._metadata)
            return sorted(each.events for each in answer.counts if each.events)

        sql = f"SELECT count() AS n FROM events WHERE {self._since} GROUP BY event, toDate(time) ORDER BY n"
        return Question(f"events and people of {data.NAMES} names day by day, 90 days", ask, sql)

    def _of_all(self, interval: Interval.ValueType, bucket: str, zone: str) -> Question:
        """Return the question for people by hour or day of a zone; `bucket` is ClickHouse's function."""
        request = pb.CountEventsRequest(time_range=self._span, interval=interval, time_zone=zone)

        def ask() -> list[int]:
            answer = self._events.CountEvents(request, metadata=self._metadata)
            return [each.users for each in answer.counts if each.events]

        begin = f"{bucket}(time, '{zone}')"
        sql = f"SELECT uniqExact(user) FROM events WHERE {self._since} GROUP BY {begin} ORDER BY {begin}"
        length = Interval.Name(interval).removeprefix("INTERVAL_").lower()
        return Question(f"events and people {length} by {length}, {zone}, 90 days", ask, sql)

    def _newest(self) -> Question:
        request = pb.QueryEventsRequest(order=pb.EVENT_ORDER_NEWEST_FIRST, page_size=_PAGE)
        sql = f"SELECT toUnixTimestamp64Micro(time) AS t FROM events ORDER BY t DESC LIMIT {_PAGE}"
        return Question(f"the newest {_PAGE} events", self._raw(request), sql)

    def _of_one_person(self) -> Question:
        request = pb.QueryEventsRequest(
            user_id=data.user_id(_PERSON), order=pb.EVENT_ORDER_NEWEST_FIRST, page_size=_PAGE
        )
        sql = (
            f"SELECT toUnixTimestamp64Micro(time) AS t FROM events WHERE user = {_PERSON}"
            f" ORDER BY t DESC LIMIT {_PAGE}"
        )
        return Question("the events of one person", self._raw(request), sql)

    def _raw(self, request: pb.QueryEventsRequest) -> Callable[[], list[int]]:
        def ask() -> list[int]:
            answer = self._events.QueryEvents(request, metadata=self._metadata)
            return [each.event_time.ToMicroseconds() for each in answer.events]

        return ask

    def _stickiness(self) -> Question:
        monday = self._first + (4 - self._first) % 7  # 1970-01-05 was one
        begins, ends = monday - self._first, monday - self._first + 7 * _WEEKS - 7
        request = retention_pb2.GetStickinessRequest(
            interval=INTERVAL_WEEK, time_range=self._days(begins, ends)
        )

        def ask() -> list[int]:
            periods = self._events.GetStickiness(request, metadata=self._metadata).periods
            return [each.users for period in periods for each in period.histogram if each.users]

        since, until = _moment(monday), _moment(self._first + ends)
        sql = (
            "SELECT count() FROM (SELECT toMonday(time) AS week, user, uniqExact(toDate(time)) AS days"
            f" FROM events WHERE time >= {since} AND time < {until} GROUP BY week, user)"
            " GROUP BY week, days ORDER BY week, days"
        )
        return Question(f"stickiness of {_WEEKS - 1} weeks", ask, sql)

    def _beside_nothing(self) -> Iterator[Question]:
        """Yield what reads what ClickHouse has nothing of here, or is long in SQL."""
        ask, week = self._events, self._days(80, 87)
        by_plan = pb.CountEventsRequest(
            time_range=week, group_by=pb.COUNT_GROUP_PROPERTY, group_property="plan"
        )
        where = PropertyFilter(
            property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="team")]
        )
        filtered = pb.CountEventsRequest(time_range=week, events=[data.name(1)], filters=[where])
        cycles = retention_pb2.GetLifecycleRequest(interval=INTERVAL_DAY, time_range=self._days(30, 90))
        people = pb.ResolveUsersRequest(
            users=[pb.UserReference(kind=pb.USER_KIND_USER, id=data.user_id(each)) for each in range(_PEOPLE)]
        )
        calls: tuple[tuple[str, Callable[[], Message]], ...] = (
            (
                "events by a property that is not registered, 7 days",
                lambda: ask.CountEvents(by_plan, metadata=self._metadata),
            ),
            (
                "one event where such a property has a value, 7 days",
                lambda: ask.CountEvents(filtered, metadata=self._metadata),
            ),
            ("life cycle of 60 days", lambda: ask.GetLifecycle(cycles, metadata=self._metadata)),
            ("a cohort of 30 days, its activity and returns", self._cohort()),
            (f"the keys of {_PEOPLE:,} people", lambda: ask.ResolveUsers(people, metadata=self._metadata)),
        )
        for name, call in calls:
            yield Question(name, partial(_size, call))

    def _cohort(self) -> Callable[[], cohorts_pb2.GetCohortResponse]:
        definition = cohorts_pb2.CohortDefinition(start_event=data.name(2), time_range=self._days(0, 30))
        cohort = cohorts_pb2.Cohort(cohort_id="seekers", name="Seekers", definition=definition)
        self._events.CreateCohort(cohorts_pb2.CreateCohortRequest(cohort=cohort), metadata=self._metadata)
        request = cohorts_pb2.GetCohortRequest(cohort_id=cohort.cohort_id)
        return lambda: self._events.GetCohort(request, metadata=self._metadata)


def _size(call: Callable[[], Message]) -> list[int]:
    return [call().ByteSize()]


def _midnight(day: int) -> Timestamp:
    return Timestamp(seconds=day * _DAY_SECONDS)


def _moment(day: int) -> str:
    """Return the beginning of a UTC day in ClickHouse's SQL."""
    return f"toDateTime64('{_date(day)} 00:00:00', 6, 'UTC')"


def _date(day: int) -> str:
    return _midnight(day).ToDatetime().date().isoformat()
