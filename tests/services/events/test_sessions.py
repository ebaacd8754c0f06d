"""Sessions rolled up as they arrive, beside brute force over everything that was sent."""

import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery

from services.events.sessions.folding import fold
from services.events.sessions.rebuild import rebuild
from shared.database import driver_cursor
from tests.services.events.conftest import Service
from tests.services.events.session_histories import (
    FEW_BYTES,
    NAMES,
    RED,
    ZONES,
    asked,
    check_days,
    made,
    numbers,
    rebuilt,
    seen,
    slots,
    starts,
    track,
    user_keys,
)
from tests.services.events.sessions_oracle import sessions
from tests.services.events.shop.asking import series, time_range


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
