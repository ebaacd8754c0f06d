"""Events of few sessions near the edges of calendars, their metrics as asked, and as they must be."""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery
from google.protobuf.struct_pb2 import Value

from services.events.sessions.rebuild import rebuild
from shared.database import driver_cursor
from tests.services.events.conftest import Service
from tests.services.events.sessions_oracle import GAP, Seen, Session, sessions
from tests.services.events.shop.asking import series, time_range

ZONES = ["UTC", "Asia/Kolkata", "Australia/Lord_Howe", "Europe/London"]
NAMES = ["sessions", "session_duration_seconds", "pages_per_session", "bounce_ratio"]
START, END = datetime(2010, 12, 20, tzinfo=UTC), datetime(2011, 11, 10, tzinfo=UTC)
FEW_BYTES = 200
# New Year, and clocks changed in London and on Lord Howe Island.
ANCHORS = [
    datetime(2010, 12, 31, 22, tzinfo=UTC),
    datetime(2011, 3, 27, tzinfo=UTC),
    datetime(2011, 4, 2, 14, tzinfo=UTC),
    datetime(2011, 10, 1, 14, tzinfo=UTC),
    datetime(2011, 10, 30, tzinfo=UTC),
]
RED = PropertyFilter(property="colour", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="red")])


def made(number: int, chance: random.Random) -> pb.Event:
    """An event of one of few people and sessions, near others."""
    user, anonymous = chance.choice([("u1", ""), ("u2", ""), ("", "a"), ("", "")])
    event = pb.Event(
        event_id=f"event-{number}",
        session_id=chance.choice(["s1", "s2"]),
        event="looked",
        page=chance.choice(["", "/here"]),
        properties_json=chance.choice(['{"colour": "red"}', '{"colour": "blue"}', ""]),
        user_id=user,
        anonymous_id=anonymous,
    )
    steps, shift = chance.randrange(24), chance.choice([-1, 0, 0, 1])
    micros = int(chance.choice(ANCHORS).timestamp()) * 1_000_000 + steps * GAP // 2 + shift
    event.event_time.FromMicroseconds(micros)
    return event


def seen(events: Iterable[pb.Event]) -> list[Seen]:
    return [
        Seen(
            (
                event.user_id,
                event.anonymous_id,
                "" if event.user_id or event.anonymous_id else event.session_id,
            ),
            event.session_id,
            event.event_time.ToMicroseconds(),
            bool(event.page),
        )
        for event in events
    ]


def numbers(found: list[Session]) -> list[float | None]:
    """The four metrics of some sessions."""
    total = len(found)
    sums = (
        Fraction(sum(each.end - each.start for each in found), 1_000_000),
        sum(each.pages for each in found),
        sum(each.events == 1 for each in found),
    )
    return [total, *(float(Fraction(each, total)) if total else None for each in sums)]


def asked(service: Service, interval: int, zone: str, *filters: PropertyFilter) -> list[list[float | None]]:
    """The four metrics of each interval."""
    queries = [
        MetricQuery(
            name=name,
            interval=interval,  # type: ignore[arg-type]  # a number of the enum
            time_zone=zone,
            time_range=time_range(START, END),
            filters=filters,
        )
        for name in NAMES
    ]
    columns = [
        [point.value if point.HasField("value") else None for point in each.points]
        for each in series(service, queries)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def starts(service: Service, interval: int, zone: str) -> list[int]:
    query = MetricQuery(name="sessions", interval=interval, time_zone=zone, time_range=time_range(START, END))  # type: ignore[arg-type]  # as above
    return [point.start_time.ToMicroseconds() for point in series(service, [query])[0].points]


def expected_by_day(found: list[Session], zone: str) -> dict[date, list[float | None]]:
    days: dict[date, list[Session]] = defaultdict(list)
    for each in found:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=each.start)
        days[moment.astimezone(ZoneInfo(zone)).date()].append(each)
    return {day: numbers(some) for day, some in days.items()}


def check_days(service: Service, events: list[pb.Event], zone: str, *filters: PropertyFilter) -> None:
    expected = expected_by_day(sessions(seen(events)), zone)
    days = [
        datetime.fromtimestamp(start / 1e6, ZoneInfo(zone)).date()
        for start in starts(service, INTERVAL_DAY, zone)
    ]
    found = asked(service, INTERVAL_DAY, zone, *filters)
    assert set(expected) <= set(days)
    for day, values in zip(days, found, strict=True):
        assert values == expected.get(day, [0, None, None, None]), day


def track(service: Service, events: list[pb.Event]) -> None:
    assert not service.events.TrackEvents(pb.TrackEventsRequest(events=events)).rejections


def rebuilt(service: Service, keys: list[int]) -> None:
    with service.engine.begin() as connection, driver_cursor(connection) as cursor:
        rebuild(cursor, keys)


def user_keys(service: Service) -> list[int]:
    with service.engine.begin() as connection:
        return list(connection.exec_driver_sql("SELECT user_key FROM users ORDER BY 1").scalars())


def slots(service: Service) -> list[tuple[int, ...]]:
    with service.engine.begin() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM session_slots WHERE sessions <> 0 ORDER BY slot")
        return [tuple(row) for row in rows]
