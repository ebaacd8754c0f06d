"""Old raw events go by the month; what was counted of them stays."""

from collections.abc import Callable
from datetime import date

import pytest
import sqlalchemy
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.events.housekeeping import raw_retention
from services.events.raw_retention import RawRetention
from services.events.rollups.compaction import compact
from tests.clock import Clock
from tests.services.events.conftest import Service

DAY = 24 * 3600
MICROS = 1_000_000
NOW = Clock.micros  # 2011-11-11
EVERYTHING = TimeRange(start_time=Timestamp(seconds=946_684_800), end_time=Timestamp(seconds=1_400_000_000))


def event(name: str, days_ago: int) -> pb.Event:
    made = pb.Event(event_id=name, user_id="u", session_id="s", event="viewed")
    made.event_time.FromMicroseconds(NOW - days_ago * DAY * MICROS)
    return made


def partitions(engine: sqlalchemy.Engine) -> list[str]:
    query = "SELECT relname FROM pg_class WHERE relname LIKE 'events_y%' AND relkind = 'r' ORDER BY relname"
    with engine.connect() as connection:
        return list(connection.exec_driver_sql(query.replace("%", "%%")).scalars())


def raw_events(engine: sqlalchemy.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM events").scalar_one())


def counted(service: Service) -> tuple[int, int]:
    [count] = service.events.CountEvents(pb.CountEventsRequest(time_range=EVERYTHING)).counts
    return count.events, count.users


@pytest.mark.parametrize(
    ("months", "horizon"),
    [
        (0, None),
        (1, date(2011, 10, 1)),
        (10, date(2011, 1, 1)),
        (11, date(2010, 12, 1)),
        (24, date(2009, 11, 1)),
    ],
)
def test_the_horizon_is_the_first_of_a_month(months: int, horizon: date | None) -> None:
    assert RawRetention(months).horizon(NOW) == horizon


def test_old_months_go_and_counts_stay(service: Service) -> None:
    sent = [
        event("new", 1),
        event("last", 41),
        event("old", 42),
        event("older", 100),
        event("ancient", 1_500),
    ]
    service.events.TrackEvents(pb.TrackEventsRequest(events=sent))
    while compact(service.engine) or raw_events(service.engine) != 5:
        pass
    before = counted(service)
    assert before == (5, 1)
    chore = raw_retention(service.engine, RawRetention(1), lambda: NOW)
    assert chore.run() == 3600
    assert partitions(service.engine) == [
        "events_y2011m10",
        "events_y2011m11",
        "events_y2011m12",
        "events_y2012m01",
    ]
    assert raw_events(service.engine) == 2
    assert counted(service) == before
    assert RawRetention(1).drop(service.engine, NOW) == []


def test_a_month_is_dropped_a_day_after_its_events_are_refused(service: Service) -> None:
    service.events.TrackEvents(pb.TrackEventsRequest(events=[event("old", 42)]))  # 30 September
    first_of_month = NOW - 10 * DAY * MICROS
    retention = RawRetention(1)
    assert retention.earliest(first_of_month) == 1_317_427_200 * MICROS  # 2011-10-01
    assert retention.drop(service.engine, first_of_month) == []
    assert retention.drop(service.engine, first_of_month + DAY * MICROS) == ["events_y2011m09"]


def test_events_before_the_horizon_are_refused_by_name(start_service: Callable[..., Service]) -> None:
    service = start_service(raw_retention_months=1)
    reply = service.events.TrackEvents(pb.TrackEventsRequest(events=[event("old", 42), event("new", 41)]))
    assert (reply.accepted, len(reply.rejections)) == (1, 1)
    [rejection] = reply.rejections
    assert (rejection.index, rejection.field) == (0, "event_time")
    assert rejection.reason == "is before 2011-10-01, from where on events are kept"


def test_what_somebody_left_half_done_is_finished(service: Service) -> None:
    service.events.TrackEvents(pb.TrackEventsRequest(events=[event("old", 42), event("older", 80)]))
    with service.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE events DETACH PARTITION events_y2011m09")
    assert RawRetention(1).drop(service.engine, NOW) == ["events_y2011m08", "events_y2011m09"]


def test_one_replica_at_a_time_drops(service: Service) -> None:
    service.events.TrackEvents(pb.TrackEventsRequest(events=[event("old", 42)]))
    with service.engine.begin() as other:
        other.exec_driver_sql("SELECT pg_advisory_xact_lock('rollup_state'::regclass::oid::bigint)")
        assert RawRetention(1).drop(service.engine, NOW) == []
    assert RawRetention(1).drop(service.engine, NOW) == ["events_y2011m09"]
