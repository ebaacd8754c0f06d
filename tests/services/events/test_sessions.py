"""Sessions rolled up as they arrive, beside brute force over everything that was sent."""

import random
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery
from google.protobuf.struct_pb2 import Value

from services.events.sessions.folding import fold
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


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("seed", range(4))
def test_sessions_are_exact_whatever_arrives_late_twice_or_is_folded_when(
    service: Service, seed: int
) -> None:
    chance, zone = random.Random(seed), ZONES[seed]
    sent: dict[str, pb.Event] = {}
    for step in range(14):
        batch = [made(number, chance) for number in range(step * 12, step * 12 + chance.randint(1, 12))]
        again = chance.sample(list(sent.values()), min(len(sent), 3))
        track(service, batch + again)
        sent |= {event.event_id: event for event in batch}
        if chance.random() < 0.5:
            fold(service.engine, chance.choice([FEW_BYTES, 10_000]))
        if chance.random() < 0.3:
            rebuilt(service, chance.sample(user_keys(service), 2))
        check_days(service, list(sent.values()), zone)
    while fold(service.engine, FEW_BYTES):
        check_days(service, list(sent.values()), zone)
    before = slots(service)
    rebuilt(service, user_keys(service))
    assert slots(service) == before


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("zone", ZONES)
def test_hours_weeks_and_months_add_up_the_same_sessions(service: Service, zone: str) -> None:
    chance = random.Random(7)
    events = [made(number, chance) for number in range(300)]
    track(service, events[:150])
    fold(service.engine)
    track(service, events[150:])
    found = sessions(seen(events))
    for interval in (INTERVAL_HOUR, INTERVAL_WEEK, INTERVAL_MONTH):
        bounds = starts(service, interval, zone)
        expected = [
            numbers([each for each in found if low <= each.start < high])
            for low, high in zip(bounds, [*bounds[1:], 2**62], strict=True)
        ]
        assert asked(service, interval, zone) == expected


@pytest.mark.parametrize("zone", ZONES)
def test_filtered_sessions_are_those_of_the_matching_events(service: Service, zone: str) -> None:
    chance = random.Random(11)
    events = [made(number, chance) for number in range(400)]
    track(service, events)
    red = [event for event in events if "red" in event.properties_json]
    assert 0 < len(red) < len(events)
    check_days(service, red, zone, RED)


def test_a_session_is_followed_far_behind_the_range_and_not_counted_again_after_it(service: Service) -> None:
    first = datetime(2011, 1, 31, 23, 50, tzinfo=UTC)
    events = [
        pb.Event(
            event_id=f"{step}", user_id="u", session_id="s", event="e", properties_json='{"colour":"red"}'
        )
        for step in range(200)
    ]
    for step, event in enumerate(events):
        event.event_time.FromDatetime(first + step * timedelta(minutes=30))
    track(service, events)
    for filters in ([], [RED]):
        rows = [
            series(
                service,
                [
                    MetricQuery(
                        name=name,
                        interval=INTERVAL_MONTH,
                        time_range=time_range(
                            datetime(2011, month, 1, tzinfo=UTC), datetime(2011, month, 2, tzinfo=UTC)
                        ),
                        filters=filters,
                    )
                    for name in NAMES[:2]
                ],
            )
            for month in (1, 2)
        ]
        [(january, duration), (february, nothing)] = rows
        assert january.points[0].value == 1
        assert duration.points[0].value == 199 * 1_800
        assert february.points[0].value == 0
        assert not nothing.points[0].HasField("value")


@pytest.mark.usefixtures("still")
def test_answers_do_not_change_while_runs_are_folded(service: Service) -> None:
    chance = random.Random(3)
    for first in range(0, 200, 5):
        track(service, [made(number, chance) for number in range(first, first + 5)])
    before = asked(service, INTERVAL_DAY, "UTC")

    def fold_all() -> int:
        folds = 0
        while fold(service.engine, 1):
            folds += 1
        return folds

    with ThreadPoolExecutor(1) as pool:
        folding = pool.submit(fold_all)
        while not folding.done():
            assert asked(service, INTERVAL_DAY, "UTC") == before
    assert folding.result() == 40
    assert asked(service, INTERVAL_DAY, "UTC") == before


def test_the_service_folds_by_itself(service: Service) -> None:
    chance = random.Random(5)
    track(service, [made(number, chance) for number in range(50)])
    waiting = 1
    while waiting:
        with service.engine.begin() as connection:
            waiting = connection.exec_driver_sql("SELECT count(*) FROM session_deltas").scalar_one()


@pytest.mark.usefixtures("still")
def test_rebuilding_beside_ingest_and_folding_loses_and_doubles_nothing(service: Service) -> None:
    chance = random.Random(9)
    events = [made(number, chance) for number in range(600)]
    track(service, events[:20])
    keys = user_keys(service)

    def ingest() -> None:
        for first in range(20, 600, 10):
            track(service, events[first : first + 10])

    def disturb(other: random.Random) -> None:
        while not ingesting.done():
            rebuilt(service, other.sample(keys, 1))
            fold(service.engine, FEW_BYTES)

    with ThreadPoolExecutor(3) as pool:
        ingesting = pool.submit(ingest)
        others = [pool.submit(disturb, random.Random(seed)) for seed in range(2)]
        ingesting.result()
        for other in others:
            other.result()
    check_days(service, events, "Asia/Kolkata")
    while fold(service.engine):
        pass
    check_days(service, events, "Asia/Kolkata")


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("folded", [False, True])
def test_moved_and_deleted_events_take_their_sessions_with_them(service: Service, *, folded: bool) -> None:
    chance = random.Random(13)
    events = [made(number, chance) for number in range(200)]
    track(service, events)
    if folded:
        fold(service.engine)
    [first, second] = [key for key in user_keys(service) if key < 2**29]
    with service.engine.begin() as connection, driver_cursor(connection) as cursor:
        cursor.execute("UPDATE events SET user_key = %s WHERE user_key = %s", (first, second))
        rebuild(cursor, [first, second])
    for event in events:
        if event.user_id:
            event.user_id = "u1"
    check_days(service, events, "UTC")
    with service.engine.begin() as connection, driver_cursor(connection) as cursor:
        cursor.execute("DELETE FROM events WHERE user_key = %s", (first,))
        rebuild(cursor, [first])
    check_days(service, [event for event in events if not event.user_id], "UTC")
