"""Who and which events count: sessions, signed-in users, properties; and days that a zone skipped."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_MONTH,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import events_pb2
from brain.events.v1 import retention_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery, ReadMetricRequest
from google.protobuf.struct_pb2 import Value

from tests.clock import Clock
from tests.services.events.conftest import Service
from tests.services.events.retention.conftest import micros
from tests.services.events.retention.histories import day_of, span

UTC_ZONE = ZoneInfo("UTC")
SEPTEMBER = span(date(2011, 9, 1), date(2011, 10, 1), UTC_ZONE)


def track(service: Service, *events: tuple[str, str, str, dict[str, str]]) -> None:
    """Store (day and hour, event, plan, who)."""
    request = events_pb2.TrackEventsRequest()
    for number, (moment, name, plan, who) in enumerate(events):
        event = request.events.add(
            event_id=str(number),
            event=name,
            session_id=who.get("session_id", "shared"),
            user_id=who.get("user_id", ""),
            anonymous_id=who.get("anonymous_id", ""),
            properties_json=f'{{"plan": "{plan}"}}',
        )
        event.event_time.FromDatetime(datetime.fromisoformat(moment).replace(tzinfo=UTC))
    assert service.events.TrackEvents(request).accepted == len(events)


ANN, BOB = {"user_id": "ann"}, {"user_id": "bob"}
DEVICE, VISIT = {"anonymous_id": "device"}, {"session_id": "visit"}


def only(plan: str) -> list[PropertyFilter]:
    value = Value(string_value=plan)
    return [PropertyFilter(property="plan", operator=PROPERTY_OPERATOR_EQUALS, values=[value])]


@pytest.fixture
def visited(service: Service) -> Service:
    """One of each kind on the first, all but the user again on the second."""
    first = [("2011-09-01T10", "seen", "free", who) for who in (ANN, DEVICE, VISIT)]
    second = [("2011-09-02T10", "seen", "free", who) for who in (DEVICE, VISIT)]
    track(service, *first, *second)
    return service


@pytest.mark.parametrize(
    ("include_sessions", "known_only", "size", "returned"),
    [(False, False, 2, 1), (True, False, 3, 2), (False, True, 1, 0)],
    ids=["people", "actors", "known"],
)
def test_sessions_and_anonymous_ids_count_where_asked(
    visited: Service,
    include_sessions: bool,  # noqa: FBT001 - a column of the table
    known_only: bool,  # noqa: FBT001 - a column of the table
    size: int,
    returned: int,
) -> None:
    retention = visited.events.GetRetention(
        pb.GetRetentionRequest(
            interval=INTERVAL_DAY,
            offset_days=[1],
            time_range=SEPTEMBER,
            include_sessions=include_sessions,
            known_only=known_only,
        )
    )
    assert (retention.cohorts[0].size, retention.cohorts[0].cells[0].returned) == (size, returned)
    lifecycle = visited.events.GetLifecycle(
        pb.GetLifecycleRequest(
            interval=INTERVAL_DAY,
            time_range=SEPTEMBER,
            include_sessions=include_sessions,
            known_only=known_only,
        )
    ).periods
    assert (lifecycle[0].new_users, lifecycle[1].returning, lifecycle[1].dormant) == (
        size,
        returned,
        size - returned,
    )
    [stickiness] = visited.events.GetStickiness(
        pb.GetStickinessRequest(
            interval=INTERVAL_MONTH,
            time_range=SEPTEMBER,
            include_sessions=include_sessions,
            known_only=known_only,
        )
    ).periods
    assert [bucket.users for bucket in stickiness.histogram[:3]] == [size - returned, returned, 0]


@pytest.fixture
def paying(service: Service) -> Service:
    track(
        service,
        ("2011-08-30T10", "seen", "free", ANN),
        ("2011-09-01T10", "seen", "team", ANN),
        ("2011-09-02T10", "seen", "free", ANN),
        ("2011-09-01T10", "seen", "team", BOB),
        ("2011-09-02T10", "seen", "team", BOB),
        ("2011-09-02T11", "seen", "team", BOB),
    )
    return service


@pytest.mark.parametrize(
    ("starts", "returns", "size", "returned"),
    [("", "", 1, 1), ("team", "", 2, 2), ("team", "team", 2, 1), ("team", "free", 2, 1), ("free", "", 0, 0)],
)
def test_conditions_say_which_events_let_in_and_which_are_returns(
    paying: Service, starts: str, returns: str, size: int, returned: int
) -> None:
    """First ever: Ann had been there before, but never with a team, so the condition looks back too."""
    answer = paying.events.GetRetention(
        pb.GetRetentionRequest(
            start_filters=only(starts) if starts else [],
            return_filters=only(returns) if returns else [],
            interval=INTERVAL_DAY,
            offset_days=[1],
            entry=pb.RETENTION_ENTRY_FIRST_EVER,
            time_range=span(date(2011, 9, 1), date(2011, 9, 2), UTC_ZONE),
        )
    )
    [cohort] = answer.cohorts
    assert (cohort.size, cohort.cells[0].returned) == (size, returned)


def test_conditions_say_which_events_are_activity(paying: Service) -> None:
    """Of teams, Ann was new on the first and gone on the second."""
    team = only("team")
    days = span(date(2011, 9, 1), date(2011, 9, 3), UTC_ZONE)
    periods = paying.events.GetLifecycle(
        pb.GetLifecycleRequest(interval=INTERVAL_DAY, time_range=days, filters=team)
    ).periods
    assert [(p.new_users, p.returning, p.resurrected, p.dormant) for p in periods] == [
        (2, 0, 0, 0),
        (0, 1, 0, 1),
    ]
    [month] = paying.events.GetStickiness(
        pb.GetStickinessRequest(interval=INTERVAL_MONTH, time_range=days, filters=team)
    ).periods
    assert [bucket.users for bucket in month.histogram[:2]] == [1, 1]
    query = MetricQuery(name="new_users", interval=INTERVAL_DAY, time_range=days, filters=team)
    points = paying.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points
    assert [point.value for point in points] == [2, 0]


def test_a_skipped_day_has_its_place_among_the_offsets(service: Service, clock: Clock) -> None:
    """Samoa had no 30 December 2011: the 31st is day 2 of the 29th, though it came right behind it."""
    clock.micros = micros(datetime(2012, 2, 1, tzinfo=UTC))
    track(service, ("2011-12-29T20", "seen", "free", ANN), ("2011-12-31T08", "seen", "free", ANN))
    apia = ZoneInfo("Pacific/Apia")
    days = TimeRange()
    days.start_time.FromDatetime(datetime(2011, 12, 29, 12, tzinfo=UTC))
    days.end_time.FromDatetime(datetime(2012, 1, 1, tzinfo=UTC))
    request = pb.GetRetentionRequest(
        interval=INTERVAL_DAY, offset_days=[1, 2], time_range=days, time_zone=apia.key
    )
    cohorts = service.events.GetRetention(request).cohorts
    assert [day_of(cohort.start_time, apia) for cohort in cohorts] == [
        date(2011, 12, 29),
        date(2011, 12, 31),
        date(2012, 1, 1),
    ]
    assert [cell.returned for cell in cohorts[0].cells] == [0, 1]
    query = MetricQuery(name="engagement_score", interval=INTERVAL_DAY, time_range=days, time_zone=apia.key)
    points = service.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points
    assert [point.value for point in points] == [1, 0]


def test_events_of_tomorrow_count_already(service: Service) -> None:
    """It is the morning of 11 November 2011; clocks of senders may be a day ahead."""
    track(service, ("2011-11-11T07", "seen", "free", ANN), ("2011-11-12T08", "seen", "free", ANN))
    days = span(date(2011, 11, 11), date(2011, 11, 13), UTC_ZONE)
    request = pb.GetRetentionRequest(interval=INTERVAL_DAY, offset_days=[1], time_range=days)
    for returns in ([], ["seen"]):
        request.return_events[:] = returns
        today, tomorrow = service.events.GetRetention(request).cohorts
        assert (today.size, tomorrow.size) == (1, 1)
        assert (today.cells[0].returned, today.cells[0].complete) == (1, False)
        assert tomorrow.cells[0].absent_reason == "NOT_BEGUN"


def test_engagement_rests_on_thirty_days(service: Service) -> None:
    track(service, ("2011-09-01T00:00", "seen", "free", ANN), ("2011-09-30T12:00", "seen", "free", BOB))
    days = span(date(2011, 9, 30), date(2011, 10, 2), UTC_ZONE)
    query = MetricQuery(name="engagement_score", interval=INTERVAL_DAY, time_range=days)
    points = service.metrics.ReadMetric(ReadMetricRequest(query=query)).series.points
    assert [(point.value, point.sample_size) for point in points] == [(0.5, 2), (0, 1)]
