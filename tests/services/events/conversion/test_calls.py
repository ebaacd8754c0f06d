"""GetConversionRate over gRPC, against the exhaustive search over what was stored."""

import json
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PROPERTY_OPERATOR_EXISTS,
    PropertyFilter,
)
from brain.events.v1 import conversion_pb2 as pb
from google.protobuf.struct_pb2 import Value

from services.events.rollups.compaction import compact
from tests.services.events.conftest import Clock, Service
from tests.services.events.conversion.asking import MICROS, ask, event, instant, micros, span, store
from tests.services.events.conversion.attempts import Happened, Outcome, outcomes, rate
from tests.services.events.scans import track

HOUR = 3_600 * MICROS
DAY = 24 * HOUR
# New Year; clocks change on Lord Howe Island on 2011-04-03 and in London on 2011-03-27.
FIRST = micros(2010, 12, 27)
SPANS = {
    "new year": (micros(2010, 12, 27), micros(2011, 1, 10)),
    "clocks change": (micros(2011, 3, 25, 5, 17), micros(2011, 4, 6, 3, 1)),
}
ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe")
PLANS = (None, "free", "pro", 7)
Row = tuple[int, str, str, int, object]  # number, who, event, µs, plan


def rows(first: int, last: int, count: int = 1_500) -> list[Row]:
    """Events of 20 users, 3 devices and 3 sessions, many at the same or at neighbouring times."""
    chance = random.Random(first)
    people = [f"user-{n}" for n in range(20)] + [
        f"{kind}-{n}" for kind in ("device", "session") for n in range(3)
    ]
    moments = [chance.randrange(first, last, HOUR // 2) for _ in range(40)]
    return [
        (
            number,
            chance.choice(people),
            chance.choice(("seen", "bought")),
            chance.choice(moments) + chance.choice((0, 0, -1, 1, 60 * MICROS, 61 * MICROS)),
            chance.choice(PLANS),
        )
        for number in range(count)
    ]


def stored(service: Service, events: Sequence[Row]) -> None:
    track(
        service,
        [
            event(number, who, name, time, "" if plan is None else json.dumps({"plan": plan}))
            for number, who, name, time, plan in events
        ],
    )


def histories(
    events: Sequence[Row], is_start: Callable[[Row], bool], is_end: Callable[[Row], bool]
) -> list[Happened]:
    people = {who: number for number, who in enumerate(sorted({row[1] for row in events}))}
    return [
        Happened(
            row[0],
            people[row[1]],
            row[3],
            is_start(row),
            is_end(row),
            None if row[4] is None else json.dumps(row[4]),
        )
        for row in events
    ]


def named(name: str, holds: Callable[[object], bool] = lambda _: True) -> Callable[[Row], bool]:
    return lambda row: row[2] == name and holds(row[4])


def check(actual: pb.ConversionRate, expected: Sequence[Outcome]) -> None:
    starters, converters, open_entries, median, mean = rate(expected)
    assert (actual.starters, actual.converters, actual.open_entries) == (starters, converters, open_entries)
    assert actual.HasField("conversion_ratio") == bool(starters)
    if starters:
        assert actual.conversion_ratio == converters / starters
    assert actual.HasField("median_seconds") == actual.HasField("mean_seconds") == bool(converters)
    if converters:
        assert (actual.median_seconds, actual.mean_seconds) == pytest.approx((median, mean))
    assert actual.absent_reason == ("" if converters else "NO_CONVERTERS" if starters else "NO_STARTERS")


@pytest.fixture(params=SPANS)
def year_part(request: pytest.FixtureRequest) -> tuple[int, int]:
    return SPANS[request.param]


def local_label(time: int, interval: int, zone: ZoneInfo) -> object:
    local = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)).astimezone(zone)
    if interval == INTERVAL_DAY:
        return local.date()
    return local.isocalendar()[:2] if interval == INTERVAL_WEEK else (local.year, local.month)


@pytest.mark.parametrize("first_only", [False, True])
def test_points_in_every_zone_are_those_of_a_search(
    service: Service, clock: Clock, year_part: tuple[int, int], *, first_only: bool
) -> None:
    first, last = year_part
    events = rows(first - DAY, last)
    stored(service, events)
    clock.micros = last - 2 * DAY  # some windows are open
    found = histories(events, named("seen"), named("bought"))
    window = 90 * 60 * MICROS
    for zone in ZONES:
        for interval in (INTERVAL_DAY, INTERVAL_WEEK, INTERVAL_MONTH):
            answer = ask(
                service,
                start_event="seen",
                end_event="bought",
                window_minutes=90,
                time_range=span(first, last),
                time_zone=zone,
                interval=interval,
                entry=pb.CONVERSION_ENTRY_FIRST if first_only else pb.CONVERSION_ENTRY_BEST,
            )
            assert answer.time_zone == zone
            whole = outcomes(found, (first, last), window, clock.micros, first_only=first_only)
            check(answer.total, list(whole.values()))
            starts = [point.start_time.ToMicroseconds() for point in answer.points]
            labels = [local_label(start, interval, ZoneInfo(zone)) for start in starts]
            assert starts[0] == first
            assert len(set(labels)) == len(labels)
            bounds = zip(starts, [*starts[1:], last], strict=True)
            for point, label, bucket in zip(answer.points, labels, bounds, strict=True):
                assert local_label(bucket[1] - 1, interval, ZoneInfo(zone)) == label
                inside = outcomes(found, bucket, window, clock.micros, first_only=first_only)
                check(point.rate, list(inside.values()))
                assert point.complete == (bucket[1] + window <= clock.micros)
    assert answer.total.converters > 5


@pytest.mark.parametrize("end_event", ["bought", "seen"])
def test_groups_page_by_page_are_those_of_a_search(service: Service, end_event: str) -> None:
    first, last = SPANS["new year"]
    events = rows(first, last)
    stored(service, events)
    found = histories(events, named("seen"), named(end_event))
    request = pb.GetConversionRateRequest(
        start_event="seen",
        end_event=end_event,
        time_range=span(first, last),
        interval=INTERVAL_WEEK,
        group_property="plan",
        page_size=3,
    )
    weeks = [first, micros(2011, 1, 3), last]
    by_plan: dict[str | None, list[Outcome]] = {}
    for outcome in outcomes(found, (first, last), HOUR, 2**62).values():
        by_plan.setdefault(outcome.value, []).append(outcome)
    order = sorted(by_plan, key=lambda plan: (-len(by_plan[plan]), plan is None, plan or ""))
    seen: list[str | None] = []
    while True:
        answer = service.events.GetConversionRate(request)
        for group in answer.groups:
            plan = group.group if group.HasField("group") else None
            seen.append(plan)
            check(group.rate, by_plan[plan])
            for number, point in enumerate(group.points):
                week = outcomes(found, (weeks[number], weeks[number + 1]), HOUR, 2**62)
                check(point.rate, [each for each in week.values() if each.value == plan])
            assert len(group.points) == 2
        assert answer.group_count == len(order) == 4
        check(answer.total, [each for plan in order for each in by_plan[plan]])
        if not answer.next_page_token:
            assert not answer.HasField("rest")
            break
        check(answer.rest, [each for plan in order[len(seen) :] for each in by_plan[plan]])
        request.page_token = answer.next_page_token
    assert seen == order


def equals(name: str, value: str) -> PropertyFilter:
    return PropertyFilter(
        property=name, operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value=value)]
    )


HAS_PLAN = PropertyFilter(property="plan", operator=PROPERTY_OPERATOR_EXISTS)
FILTERS: dict[str, tuple[list[PropertyFilter], Callable[[object], bool]]] = {
    "any": ([], lambda _: True),
    "pro": ([equals("plan", "pro")], lambda plan: plan == "pro"),
    "some": ([HAS_PLAN], lambda plan: plan is not None),
    "some pro": ([HAS_PLAN, equals("plan", "pro")], lambda plan: plan == "pro"),
}


@pytest.mark.parametrize("end_event", ["bought", "seen"])
def test_each_side_has_filters_of_its_own(service: Service, end_event: str) -> None:
    """With the same event at both ends, one event may meet both filters, and fills one step only."""
    first, last = SPANS["new year"]
    events = rows(first, last)
    stored(service, events)
    for start_filters, starts in FILTERS.values():
        for end_filters, ends in FILTERS.values():
            found = histories(events, named("seen", starts), named(end_event, ends))
            answer = ask(
                service,
                start_event="seen",
                end_event=end_event,
                start_filters=start_filters,
                end_filters=end_filters,
                time_range=span(first, last),
            )
            check(answer.total, list(outcomes(found, (first, last), HOUR, 2**62).values()))
            assert answer.total.converters


@pytest.mark.parametrize(
    ("population", "kinds"),
    [
        (pb.CONVERSION_POPULATION_ACTORS, ("user", "device", "session")),
        (pb.CONVERSION_POPULATION_PEOPLE, ("user", "device")),
        (pb.CONVERSION_POPULATION_KNOWN, ("user",)),
    ],
)
def test_whom_it_counts(
    service: Service, population: pb.ConversionPopulation.ValueType, kinds: tuple[str, ...]
) -> None:
    first, last = SPANS["new year"]
    events = rows(first, last)
    stored(service, events)
    theirs = [row for row in events if row[1].startswith(kinds)]
    found = histories(theirs, named("seen"), named("bought"))
    answer = ask(
        service,
        start_event="seen",
        end_event="bought",
        time_range=span(first, last),
        population=population,
    )
    check(answer.total, list(outcomes(found, (first, last), HOUR, 2**62).values()))
    assert answer.population == population


def test_choices_are_echoed(service: Service) -> None:
    answer = ask(service, start_event="a", end_event="b", time_range=span(FIRST, FIRST + DAY))
    assert answer == pb.GetConversionRateResponse(
        total=pb.ConversionRate(absent_reason="NO_STARTERS"),
        complete=True,
        window_minutes=60,
        entry=pb.CONVERSION_ENTRY_BEST,
        population=pb.CONVERSION_POPULATION_ACTORS,
        time_zone="UTC",
    )


def test_windows_reach_beyond_the_range_and_their_last_microsecond_counts(service: Service) -> None:
    store(
        service,
        [
            ("ann", "seen", FIRST + DAY - 1),
            ("ann", "bought", FIRST + DAY - 1 + HOUR),
            ("ben", "seen", FIRST),
            ("ben", "bought", FIRST + HOUR + 1),
            ("cyd", "seen", FIRST + DAY),  # the range's end
            ("cyd", "bought", FIRST + DAY),
        ],
    )
    answer = ask(service, start_event="seen", end_event="bought", time_range=span(FIRST, FIRST + DAY))
    assert (answer.total.starters, answer.total.converters) == (2, 1)
    assert answer.total.median_seconds == answer.total.mean_seconds == 3_600


def test_hours_of_a_day_with_a_half_hour_change(service: Service) -> None:
    """On 2011-04-03 clocks on Lord Howe Island went back half an hour at 2:00."""
    midnight = int(datetime(2011, 4, 3, tzinfo=ZoneInfo("Australia/Lord_Howe")).timestamp()) * MICROS
    store(service, [("ann", "seen", midnight), ("ann", "bought", midnight + 1)])
    answer = ask(
        service,
        start_event="seen",
        end_event="bought",
        time_range=span(midnight, midnight + 3 * HOUR),
        time_zone="Australia/Lord_Howe",
        interval=INTERVAL_HOUR,
    )
    starts = [point.start_time for point in answer.points]
    assert starts == [instant(midnight + hours * HOUR // 2) for hours in (0, 2, 5)]
    assert [point.rate.starters for point in answer.points] == [1, 0, 0]


@pytest.mark.usefixtures("still")
def test_late_events_count_at_once_folded_or_not(service: Service) -> None:
    store(service, [("ann", "seen", FIRST), ("ben", "seen", FIRST)])
    request = {"start_event": "seen", "end_event": "bought", "time_range": span(FIRST, FIRST + DAY)}
    assert ask(service, **request).total.converters == 0
    track(service, [event(10, "ann", "bought", FIRST + 5)])
    assert ask(service, **request).total.converters == 1
    while compact(service.engine):
        pass
    track(service, [event(11, "ben", "bought", FIRST + 5)])
    assert ask(service, **request).total.converters == 2
