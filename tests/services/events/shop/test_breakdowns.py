"""Counts by event, category, who and property, with and without conditions, beside a count of the lines."""

import json
import operator
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from itertools import islice

import pytest
from brain.common.v1 import common_pb2
from brain.common.v1.common_pb2 import INTERVAL_MONTH, PropertyFilter
from brain.events.v1 import events_pb2 as pb
from google.protobuf.struct_pb2 import Value

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import END, START, WHOLE, count, moment, pages, time_range
from tests.services.events.shop.lines import Count, Line

NOVEMBER = (datetime(2011, 11, 1, tzinfo=UTC), datetime(2011, 12, 1, tzinfo=UTC))


def tally(found: Iterable[Line], *, sessions: bool = False) -> Count:
    """Count lines as a break-down by property or a condition does."""
    chosen = list(found)
    people = {(line.customer, "" if line.customer else line.invoice) for line in chosen}
    users = sum(1 for customer, _ in people if customer or sessions)
    return Count(len(chosen), users, sum(line.pennies for line in chosen) / 100)


def by_property(
    name: str, span: tuple[datetime, datetime] = (START, END), *, sessions: bool = False
) -> list[tuple[str, Count]]:
    """Return the groups by falling number of events, then by key."""
    groups: dict[str, list[Line]] = defaultdict(list)
    for line in lines.lines():
        if span[0] <= line.time < span[1]:
            groups[json.dumps(getattr(line, name))].append(line)
    counted = [(key, tally(group, sessions=sessions)) for key, group in groups.items()]
    return sorted(counted, key=lambda each: (-each[1].events, each[0].encode()))


def condition(name: str, how: str, *values: str | float) -> PropertyFilter:
    return PropertyFilter(
        property=name,
        operator=common_pb2.PropertyOperator.Value(f"PROPERTY_OPERATOR_{how}"),
        values=[
            Value(string_value=value) if isinstance(value, str) else Value(number_value=value)
            for value in values
        ],
    )


def test_by_event_and_month(shop: Service) -> None:
    request = pb.CountEventsRequest(
        time_range=WHOLE, group_by=pb.COUNT_GROUP_EVENT, interval=INTERVAL_MONTH, include_sessions=True
    )
    answer = shop.events.CountEvents(request)
    found = {(each.group, moment(each.start_time).date()): count(each) for each in answer.counts}
    expected = lines.counted_by(lambda visit: (visit.event, visit.time.date().replace(day=1)), sessions=True)
    assert found == expected
    assert [each.group for each in answer.counts] == ["item_purchased"] * 13 + ["item_returned"] * 13


def test_by_category(shop: Service) -> None:
    request = pb.CountEventsRequest(time_range=WHOLE, group_by=pb.COUNT_GROUP_CATEGORY)
    [revenue] = shop.events.CountEvents(request).counts
    assert (revenue.group, count(revenue)) == ("revenue", Count(541_909, 4_372, 9_747_747.93))


@pytest.mark.parametrize("sessions", [False, True])
def test_by_country(shop: Service, *, sessions: bool) -> None:
    request = pb.CountEventsRequest(
        time_range=time_range(*NOVEMBER),
        group_by=pb.COUNT_GROUP_PROPERTY,
        group_property="country",
        include_sessions=sessions,
    )
    found = [(each.group, count(each)) for each in shop.events.CountEvents(request).counts]
    assert found == by_property("country", NOVEMBER, sessions=sessions)
    assert found[0][0] == '"United Kingdom"'


def test_top_products_of_the_year(folded_shop: Service) -> None:
    request = pb.CountEventsRequest(
        time_range=WHOLE, group_by=pb.COUNT_GROUP_PROPERTY, group_property="stock_code", page_size=10
    )
    answer = folded_shop.events.CountEvents(request)
    assert [(each.group, count(each)) for each in answer.counts] == by_property("stock_code")[:10]
    assert answer.counts[0].group == '"85123A"'
    assert answer.next_page_token


def test_every_product_stands_on_one_page(folded_shop: Service) -> None:
    """Many have equal counts, so that pages end among them."""
    request = pb.CountEventsRequest(
        time_range=WHOLE, group_by=pb.COUNT_GROUP_PROPERTY, group_property="stock_code", page_size=1_000
    )
    found = [(each.group, count(each)) for each in pages(folded_shop, request)]
    assert found == by_property("stock_code")
    assert len(found) > 4_000


def test_numbers_are_groups_as_well(folded_shop: Service) -> None:
    request = pb.CountEventsRequest(
        time_range=time_range(*NOVEMBER), group_by=pb.COUNT_GROUP_PROPERTY, group_property="quantity"
    )
    found = [(each.group, count(each)) for each in islice(pages(folded_shop, request), 300)]
    assert found == by_property("quantity", NOVEMBER)[:300]
    assert found[0][0] == "1"


def test_every_customer_stands_on_one_page(folded_shop: Service) -> None:
    request = pb.CountEventsRequest(
        time_range=time_range(*NOVEMBER), group_by=pb.COUNT_GROUP_USER, page_size=1_000
    )
    answers = list(pages(folded_shop, request))
    expected = lines.counted_by(lambda visit: visit.actor, lines.between(*NOVEMBER))
    kinds = {pb.USER_KIND_USER: "user", pb.USER_KIND_SESSION: "session"}
    assert {(kinds[each.user.kind], each.user.id): count(each) for each in answers} == expected
    assert len(answers) == len(expected) > 1_000
    assert [each.events for each in answers] == sorted((each.events for each in answers), reverse=True)
    assert not any(each.HasField("group") for each in answers)


def test_customers_by_month(folded_shop: Service) -> None:
    request = pb.CountEventsRequest(
        time_range=WHOLE, group_by=pb.COUNT_GROUP_USER, interval=INTERVAL_MONTH, page_size=20
    )
    answer = folded_shop.events.CountEvents(request)
    busiest = sorted(lines.counted_by(lambda visit: visit.actor).items(), key=lambda each: -each[1].events)[
        :20
    ]
    assert {each.user.id for each in answer.counts} == {actor[1] for actor, _ in busiest}
    expected = lines.counted_by(lambda visit: (visit.actor[1], month(visit.time)))
    for each in answer.counts:
        key = each.user.id, month(moment(each.start_time))
        assert count(each) == expected.get(key, Count(0, 0, 0))


def month(when: datetime) -> date:
    return when.date().replace(day=1)


CONDITIONS: list[tuple[list[PropertyFilter], Callable[[Line], bool]]] = [
    ([condition("country", "EQUALS", "France")], lambda line: line.country == "France"),
    ([condition("country", "NOT_EQUALS", "United Kingdom")], lambda line: line.country != "United Kingdom"),
    (
        [condition("country", "IN", "EIRE", "Germany", "Atlantis")],
        lambda line: line.country in {"EIRE", "Germany"},
    ),
    ([condition("quantity", "GREATER", 100)], lambda line: line.quantity > 100),
    ([condition("quantity", "LESS", 0)], lambda line: line.quantity < 0),
    ([condition("stock_code", "CONTAINS", "123A")], lambda line: "123A" in line.stock_code),
    ([condition("order_id", "EXISTS")], operator.truth),
    ([condition("coupon", "EXISTS")], lambda _line: False),
    ([condition("quantity", "EQUALS", "6")], lambda _line: False),  # the text "6" is not the number
    (
        [condition("country", "EQUALS", "France"), condition("quantity", "GREATER", 24)],
        lambda line: line.country == "France" and line.quantity > 24,
    ),
]


@pytest.mark.parametrize(
    ("filters", "meets"), CONDITIONS, ids=[str(number) for number in range(len(CONDITIONS))]
)
def test_conditions_on_properties(
    folded_shop: Service, filters: list[PropertyFilter], meets: Callable[[Line], bool]
) -> None:
    request = pb.CountEventsRequest(time_range=WHOLE, filters=filters, interval=INTERVAL_MONTH)
    found = {
        month(moment(each.start_time)): count(each) for each in folded_shop.events.CountEvents(request).counts
    }
    groups: dict[date, list[Line]] = {start: [] for start in found}
    for line in lines.lines():
        if meets(line):
            groups[month(line.time)].append(line)
    assert found == {start: tally(group) for start, group in groups.items()}
    assert len(found) == 13
