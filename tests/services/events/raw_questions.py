"""Everything that writes events, and every question that raw events answer."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    PROPERTY_OPERATOR_EQUALS,
    PROPERTY_OPERATOR_EXISTS,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import conversion_pb2, events_pb2, identity_pb2, properties_pb2, retention_pb2
from brain.metrics.v1.metrics_pb2 import (
    ListMetricsRequest,
    MetricQuery,
    MetricResult,
    ReadMetricsRequest,
)
from brain.privacy.v1 import privacy_pb2
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from services.events.reading.orders import refresh
from services.events.rollups.compaction import compact
from services.events.rollups.cover import ReportingCalendar
from services.events.value_rollups.filling import fill_one
from services.events.value_rollups.folding import fold_values
from tests.services.events.conftest import Service
from tests.services.events.made_events import FIRST_SECOND, made_events

DAY = 86_400
SPAN = TimeRange(
    start_time=Timestamp(seconds=FIRST_SECOND - 2 * DAY), end_time=Timestamp(seconds=FIRST_SECOND + 92 * DAY)
)


def stored_events() -> list[events_pb2.Event]:
    """Purchases of subscriptions among others, with properties and ids of both kinds."""
    made = made_events(range(400))
    for number, each in enumerate(made):
        each.properties_json = (
            f'{{"plan": "{("pro", "free")[number % 2]}", "order_id": "{number // 3}",'
            f' "billing_interval": "{("month", "year")[number % 2]}", "subscription_id": "{number % 9}"}}'
        )
        each.page = "/" if number % 3 else ""
    made[0].user_id, made[0].anonymous_id = "", "cookie"
    return made


def write(service: Service) -> None:
    """Everything that writes events, and what follows from them."""
    made = stored_events()
    for batch in (made, made[:50]):
        service.events.TrackEvents(events_pb2.TrackEventsRequest(events=batch))
    service.events.RegisterProperty(properties_pb2.RegisterPropertyRequest(property="plan"))
    assert fill_one(service.engine, ReportingCalendar(ZoneInfo("UTC")))
    while compact(service.engine) or fold_values(service.engine):
        pass
    assert refresh(service.engine, 10**6)
    link = identity_pb2.LinkUserRequest(user_id="user-7", anonymous_id="cookie")
    assert service.events.LinkUser(link).moved_events
    for name, mode in (("user-1", "ERASURE_MODE_ERASE"), ("user-3", "ERASURE_MODE_ANONYMIZE")):
        service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=person(name), mode=mode))  # type: ignore[arg-type]  # a name of the enum


def person(name: str) -> events_pb2.UserReference:
    return events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=name)


def questions(service: Service) -> Iterator[tuple[str, Sequence[Message]]]:
    """Every question that raw events answer, and its answer."""
    events = service.events
    for filters in ([], [plan("pro")], [plan("pro"), other()]):
        for group in ("COUNT_GROUP_UNSPECIFIED", "COUNT_GROUP_USER", "COUNT_GROUP_PROPERTY"):
            for zone in ("UTC", "Asia/Kolkata"):
                count = events_pb2.CountEventsRequest(
                    time_range=SPAN, time_zone=zone, filters=filters, interval=INTERVAL_DAY
                )
                count.group_by = events_pb2.CountGroup.Value(group)
                count.group_property = "plan" if group == "COUNT_GROUP_PROPERTY" else ""
                yield f"{group} {zone} {filters}", events.CountEvents(count).counts
        scan = events_pb2.ScanEventsRequest(
            events=["viewed", "bought", "never"], time_range=SPAN, filters=filters, with_value=True
        )
        yield f"scan {filters}", list(events.ScanEvents(scan))
        scan.properties.append("plan")
        scan.match_sets.add(filters=[plan("pro")])
        yield f"scan with properties {filters}", list(events.ScanEvents(scan))
        returns = retention_pb2.GetRetentionRequest(
            start_event="viewed", time_range=SPAN, interval=INTERVAL_DAY
        )
        returns.start_filters.extend(filters)
        yield f"retention {filters}", [events.GetRetention(returns)]
        listing = events_pb2.QueryEventsRequest(time_range=SPAN, filters=filters)
        yield f"list {filters}", events.QueryEvents(listing).events
        listing.user_id = "user-7"
        yield f"list a person's {filters}", events.QueryEvents(listing).events
        yield f"metrics {filters}", metrics(service, filters)
        yield f"metrics that are alike {filters}", alike(service, filters)
    active = events_pb2.GetActiveUsersRequest(
        period=events_pb2.ACTIVE_PERIOD_DAY, time_range=SPAN, group_property="order_id"
    )
    yield "active users by property", events.GetActiveUsers(active).active_users
    conversion = conversion_pb2.GetConversionRateRequest(
        start_event="viewed", end_event="bought", window_minutes=60, time_range=SPAN
    )
    yield "conversion", [events.GetConversionRate(conversion)]
    replies = service.privacy.ExportUser(privacy_pb2.ExportUserRequest(user=person("user-7")))
    lines = sorted(line for reply in replies for line in reply.json_lines if '"events"' in line)
    yield "export", [StringValue(value=line) for line in lines]


def plan(value: str) -> PropertyFilter:
    return PropertyFilter(
        property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value=value)]
    )


def other() -> PropertyFilter:
    return PropertyFilter(property="order_id", operator=PROPERTY_OPERATOR_EXISTS)


def metrics(service: Service, filters: list[PropertyFilter]) -> list[Message]:
    """Return every metric: its points, or why it cannot be asked this way."""
    labels = {
        "event": "bought",
        "start": "viewed",
        "end": "bought",
        "name": "nothing",
        "window_minutes": "60",
    }
    queries = [
        MetricQuery(
            name=metric.name,
            interval=interval,
            time_range=SPAN if interval == INTERVAL_DAY else _days(3),
            filters=filters,
            labels={name: labels[name] for name in metric.required_labels if name in labels},
        )
        for metric in service.metrics.ListMetrics(ListMetricsRequest()).metrics
        for interval in (INTERVAL_DAY, INTERVAL_HOUR)
    ]
    return [
        result
        for start in range(0, len(queries), 50)
        for result in service.metrics.ReadMetrics(
            ReadMetricsRequest(queries=queries[start : start + 50])
        ).results
    ]


def alike(service: Service, filters: list[PropertyFilter]) -> list[MetricResult]:
    """Return series that are read together: of two events, and of two values of a property."""
    asked = MetricQuery(name="event_users", interval=INTERVAL_DAY, time_range=SPAN, filters=filters)
    queries = [MetricQuery() for _ in range(4)]
    for query, event, value in zip(
        queries, ("viewed", "bought", "bought", "bought"), ("", "", "1", "2"), strict=True
    ):
        query.CopyFrom(asked)
        query.labels["event"] = event
        if value:
            query.filters.append(plan(value))
            query.filters[-1].property = "order_id"
    return list(service.metrics.ReadMetrics(ReadMetricsRequest(queries=queries)).results)


def _days(number: int) -> TimeRange:
    end = Timestamp()
    end.FromDatetime(SPAN.start_time.ToDatetime() + timedelta(days=number))
    return TimeRange(start_time=SPAN.start_time, end_time=end)
