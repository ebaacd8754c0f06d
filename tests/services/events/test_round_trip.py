"""One event in, every question asked: the shortest way to see all calls work."""

from datetime import UTC, datetime

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import ListMetricsRequest, MetricQuery, ReadMetricsRequest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service


def at(*parts: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime(*parts, tzinfo=UTC))  # type: ignore[arg-type,misc]
    return stamp


DAY = TimeRange(start_time=at(2011, 11, 10), end_time=at(2011, 11, 11))


@pytest.fixture
def event(service: Service) -> pb.Event:
    """The only event there is."""
    event = pb.Event(
        event_id="first",
        user_id="ann",
        session_id="s1",
        event="bought",
        category="revenue",
        event_time=at(2011, 11, 10, 9, 30),
        value=12.34,
        properties_json='{"plan": "pro"}',
        page="/cart",
    )
    assert service.events.TrackEvents(pb.TrackEventsRequest(events=[event, event])).accepted == 1
    assert service.events.TrackEvent(pb.TrackEventRequest(event=event)).duplicate
    return event


def test_an_event_is_listed_as_it_came(service: Service, event: pb.Event) -> None:
    [stored] = service.events.QueryEvents(pb.QueryEventsRequest(user_id="ann")).events
    assert stored.HasField("received_time")
    stored.ClearField("received_time")
    assert stored == event
    assert [each.event_id for each in service.events.QueryEvents(pb.QueryEventsRequest()).events] == ["first"]


@pytest.mark.usefixtures("event")
def test_an_event_is_counted_by_every_dimension(service: Service) -> None:
    counts = service.events.CountEvents(
        pb.CountEventsRequest(time_range=DAY, group_by=pb.COUNT_GROUP_EVENT, interval=INTERVAL_DAY)
    ).counts
    assert [(c.group, c.events, c.users, c.value_sum, c.complete) for c in counts] == [
        ("bought", 1, 1, 12.34, True)
    ]
    [by_user] = service.events.CountEvents(
        pb.CountEventsRequest(time_range=DAY, group_by=pb.COUNT_GROUP_USER)
    ).counts
    assert by_user.user.id == "ann"
    [by_plan] = service.events.CountEvents(
        pb.CountEventsRequest(time_range=DAY, group_by=pb.COUNT_GROUP_PROPERTY, group_property="plan")
    ).counts
    assert (by_plan.group, by_plan.users) == ('"pro"', 1)

    top = service.events.GetTopEvents(pb.GetTopEventsRequest(time_range=DAY, with_users=True))
    assert [(t.event, t.events, t.users, t.share_ratio) for t in top.top_events] == [("bought", 1, 1, 1.0)]

    active = service.events.GetActiveUsers(pb.GetActiveUsersRequest(period=pb.ACTIVE_PERIOD_MONTH))
    assert [a.users for a in active.active_users] == [1]


@pytest.mark.usefixtures("event")
def test_an_event_is_scanned_once(service: Service) -> None:
    [chunk] = service.events.ScanEvents(
        pb.ScanEventsRequest(events=["bought"], time_range=DAY, with_value=True, properties=["plan"])
    )
    assert (chunk.row_count, len(chunk.user_keys), len(chunk.event_times), len(chunk.values)) == (1, 4, 8, 8)
    assert list(chunk.properties[0].dictionary_json) == ['"pro"']
    [same] = service.events.ScanEvents(
        pb.ScanEventsRequest(
            events=["bought"],
            time_range=DAY,
            known_chunks=[pb.KnownChunk(event="bought", day=chunk.day, revision=chunk.revision)],
        )
    )
    assert same.unchanged

    person = pb.UserReference(kind=pb.USER_KIND_USER, id="ann")
    [resolved] = service.events.ResolveUsers(pb.ResolveUsersRequest(users=[person])).users
    [back] = service.events.ResolveUsers(pb.ResolveUsersRequest(user_keys=[resolved.user_key])).users
    assert back.user == person


@pytest.mark.usefixtures("event")
def test_an_event_is_in_the_metrics_and_a_wrong_name_spoils_no_other(service: Service) -> None:
    names = [metric.name for metric in service.metrics.ListMetrics(ListMetricsRequest()).metrics]
    assert names == sorted(names)
    of_event = {"labels": {"event": "bought"}}
    queries = [
        MetricQuery(name=name, interval=INTERVAL_DAY, time_range=DAY, **more)  # type: ignore[arg-type]  # labels
        for name, more in (("mau", {}), ("revenue", {}), ("event_users", of_event), ("event_cuont", of_event))
    ]
    results = service.metrics.ReadMetrics(ReadMetricsRequest(queries=queries)).results
    assert [r.series.points[0].value for r in results[:3]] == [1, 12.34, 1]
    assert "event_count" in results[3].error.message
