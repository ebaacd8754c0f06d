"""Orders and payments beside counting what was sent, whatever has become of deltas and sets of orders."""

import random
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    PROPERTY_OPERATOR_EXISTS,
    PropertyFilter,
)
from brain.events.v1 import events_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery

from services.events.reading.orders import count_orders, refresh
from services.events.rollups.compaction import compact
from tests.services.events.conftest import Service
from tests.services.events.shop.asking import series, time_range

FIRST = datetime(2011, 9, 30, tzinfo=UTC)
SPAN = time_range(FIRST, FIRST + timedelta(days=4))
LATER = 500_000  # an hour in 2027
NOW_HOUR = 1_321_000_000 // 3_600


def made(number: int, chance: random.Random) -> pb.Event:
    order = chance.choice(
        ["", '{"order_id": "a"}', '{"order_id": "b"}', '{"order_id": 7}', '{"order_id": null}']
    )
    event = pb.Event(
        event_id=f"event-{number}",
        user_id=f"u{chance.randrange(3)}",
        session_id=chance.choice(["a", "s"]),  # a session may be called like an order
        event=chance.choice(["bought", "paid", "looked"]),
        properties_json=order,
        value=chance.randrange(-500, 2_000) / 100,
    )
    event.category = "" if event.event == "looked" else "revenue"
    event.event_time.FromDatetime(FIRST + timedelta(minutes=30 * chance.randrange(192)))
    return event


def order_of(event: pb.Event) -> tuple[str, str]:
    for order in ("a", "b"):
        if f'"{order}"' in event.properties_json:
            return "order", order
    return ("order", "7") if "7" in event.properties_json else ("session", event.session_id)


def by_day(events: list[pb.Event], zone: str) -> dict[date, tuple[float, int]]:
    days: dict[date, list[pb.Event]] = defaultdict(list)
    for event in events:
        if event.category == "revenue":
            days[event.event_time.ToDatetime(UTC).astimezone(ZoneInfo(zone)).date()].append(event)
    result = {}
    for day, own in days.items():
        orders = len({order_of(event) for event in own})
        hundredths = sum(round(event.value * 100) for event in own)
        result[day] = (float(Fraction(hundredths, orders * 100)), orders)
    return result


def asked(service: Service, zone: str, *filters: PropertyFilter) -> dict[date, tuple[float, int]]:
    query = MetricQuery(name="aov", interval=INTERVAL_DAY, time_zone=zone, time_range=SPAN, filters=filters)
    [answer] = series(service, [query])
    return {
        point.start_time.ToDatetime(UTC).astimezone(ZoneInfo(zone)).date(): (point.value, point.sample_size)
        for point in answer.points
        if point.HasField("value")
    }


def shown(expected: dict[date, tuple[float, int]], zone: str) -> dict[date, tuple[float, int]]:
    """Only days that begin inside the range are asked for."""
    return {
        day: value
        for day, value in expected.items()
        if FIRST <= datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)) < FIRST + timedelta(days=4)
    }


@pytest.mark.usefixtures("still")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "Australia/Lord_Howe"])
def test_orders_are_exact_whatever_is_folded_or_kept(service: Service, zone: str) -> None:
    chance = random.Random(zone)
    sent: list[pb.Event] = []
    for step in range(10):
        batch = [made(number, chance) for number in range(step * 20, step * 20 + 20)]
        service.events.TrackEvents(pb.TrackEventsRequest(events=batch))
        sent += batch
        if chance.random() < 0.5:
            compact(service.engine, 300)
        if chance.random() < 0.5:
            refresh(service.engine, LATER, 40)
        assert asked(service, zone) == shown(by_day(sent, zone), zone)
    while compact(service.engine):
        pass
    with service.engine.begin() as connection:
        hours = connection.exec_driver_sql(
            "SELECT count(*) FROM event_hours JOIN event_types USING (event_key) WHERE category = 'revenue'"
        ).scalar_one()
    while refresh(service.engine, LATER, 40):
        assert asked(service, zone) == shown(by_day(sent, zone), zone)
    with service.engine.begin() as connection:
        current = connection.exec_driver_sql(
            "SELECT count(*) FROM order_hours JOIN event_hours USING (event_key, hour, revision)"
        ).scalar_one()
    assert current == hours > 0
    wanted = PropertyFilter(property="order_id", operator=PROPERTY_OPERATOR_EXISTS)
    matching = [event for event in sent if event.properties_json]
    assert asked(service, zone, wanted) == shown(by_day(matching, zone), zone)


@pytest.mark.usefixtures("still")
def test_kept_sets_are_what_answers(service: Service) -> None:
    chance = random.Random(2)
    events = [made(number, chance) for number in range(100)]
    service.events.TrackEvents(pb.TrackEventsRequest(events=events))
    compact(service.engine)
    assert refresh(service.engine, NOW_HOUR) > 0
    assert refresh(service.engine, NOW_HOUR) == 0
    before = asked(service, "UTC")
    with service.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET properties = NULL")  # revisions do not see it
    assert asked(service, "UTC") == before
    with service.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM order_hours")
    assert asked(service, "UTC") != before


@pytest.mark.usefixtures("still")
def test_hours_that_are_not_over_have_no_set(service: Service) -> None:
    service.events.TrackEvents(
        pb.TrackEventsRequest(events=[made(number, random.Random(number)) for number in range(50)])
    )
    compact(service.engine)
    assert refresh(service.engine, int(FIRST.timestamp()) // 3_600) == 0


@pytest.mark.usefixtures("still")
def test_intervals_within_an_hour_are_counted_apart(service: Service) -> None:
    events = []
    for number, minute in enumerate((0, 29, 30, 59)):
        event = pb.Event(
            event_id=f"{number}", session_id=f"s{number}", event="bought", category="revenue", value=1
        )
        event.event_time.FromDatetime(FIRST + timedelta(minutes=minute))
        events.append(event)
    service.events.TrackEvents(pb.TrackEventsRequest(events=events))
    compact(service.engine)
    refresh(service.engine, LATER)
    start = int(FIRST.timestamp()) * 1_000_000
    half = 1_800_000_000
    assert count_orders(service.engine, [(start, start + half), (start + half, start + 2 * half)]) == [2, 2]
    assert count_orders(service.engine, [(start + half, start + 2 * half)]) == [2]
    query = MetricQuery(
        name="aov", interval=INTERVAL_HOUR, time_range=time_range(FIRST, FIRST + timedelta(hours=2))
    )
    [answer] = series(service, [query])
    assert [point.sample_size for point in answer.points] == [4, 0]
    assert not answer.points[1].HasField("value")


def test_payments_recur_until_they_expire(service: Service) -> None:
    def paid(number: int, day: int, value: float | None, **changes: object) -> pb.Event:
        event = pb.Event(
            event_id=f"{number}",
            user_id="u",
            session_id="s",
            event="paid",
            category="revenue",
            properties_json='{"billing_interval": "month", "subscription_id": "x"}',
            value=value,
        )
        event.event_time.FromDatetime(FIRST + timedelta(days=day))
        event.MergeFrom(pb.Event(**changes))  # type: ignore[arg-type]  # of the event's fields
        return event

    yearly = '{"billing_interval": "year", "subscription_id": "y"}'
    events = [
        paid(0, 0, 30),
        paid(1, 1, 120, properties_json=yearly),
        paid(2, 2, 60),
        # None of these is a payment.
        paid(3, 3, -60),
        paid(4, 3, None),
        paid(5, 3, 1, category="other"),
        paid(6, 3, 1, properties_json='{"billing_interval": "decade"}'),
        paid(7, 3, 1, properties_json='{"plan": "month"}'),
    ]
    service.events.TrackEvents(pb.TrackEventsRequest(events=events))
    wanted = PropertyFilter(property="subscription_id", operator=PROPERTY_OPERATOR_EXISTS)
    for filters in ([], [wanted]):
        span = time_range(FIRST - timedelta(days=1), FIRST + timedelta(days=35))
        [answer] = series(
            service, [MetricQuery(name="mrr", interval=INTERVAL_DAY, time_range=span, filters=filters)]
        )
        values = [point.value if point.HasField("value") else None for point in answer.points]
        assert values[:4] == [None, 30, 40, 70]
        # The payment of 2 October ends with 2 November at midnight, 33 days behind the first.
        assert values[33:] == [70, 10, 10]
        assert [point.sample_size for point in answer.points][:4] == [0, 1, 2, 2]
