"""GetConversionRate over gRPC, against the exhaustive search over what was stored."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_MONTH,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PROPERTY_OPERATOR_EXISTS,
    PropertyFilter,
)
from brain.events.v1 import conversion_pb2 as pb
from google.protobuf.struct_pb2 import Value

from tests.clock import Clock
from tests.services.events.conftest import Service
from tests.services.events.conversion.asking import MICROS, ask, micros, span
from tests.services.events.conversion.attempts import Outcome, outcomes
from tests.services.events.conversion.histories import DAY, HOUR, SPANS, check, histories, named, rows, stored

ZONES = ("UTC", "Europe/London", "Asia/Kolkata", "Australia/Lord_Howe")


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
