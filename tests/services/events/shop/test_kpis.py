"""Sessions, orders and the key figures of the shop's year, counted again from the file."""

from collections import defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_MONTH,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
)
from brain.events.v1 import overview_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery
from google.protobuf.struct_pb2 import Value

from tests.services.events.conftest import Service
from tests.services.events.sessions_oracle import Seen, Session, sessions
from tests.services.events.shop import lines
from tests.services.events.shop.asking import DAY_AFTER, FIRST_DAY, local, moment, series, time_range

UTC, LONDON, KOLKATA = ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Asia/Kolkata")
FRANCE = PropertyFilter(
    property="country", operator=PROPERTY_OPERATOR_EQUALS, values=[Value(string_value="France")]
)


def sessions_of(found: list[lines.Line]) -> list[Session]:
    return sessions(
        Seen(
            (line.customer or "", "" if line.customer else line.invoice),
            line.invoice,
            int(line.time.timestamp()) * 1_000_000,
            True,
        )
        for line in found
    )


def by_name(answer: pb.GetOverviewResponse) -> dict[str, pb.Kpi]:
    return {each.name: each for each in answer.kpis}


def overview(
    service: Service, first: date, after: date, zone: ZoneInfo, **changes: object
) -> pb.GetOverviewResponse:
    request = pb.GetOverviewRequest(
        time_range=time_range(local(first, zone), local(after, zone)),
        time_zone=zone.key,
        **changes,  # type: ignore[arg-type]  # of the request's fields
    )
    return service.events.GetOverview(request)


def people_until(day: date, zone: ZoneInfo) -> int:
    return len(set().union(*(who for each, who in lines.people_by_day(zone).items() if each < day)))


def pounds(found: list[lines.Line]) -> Fraction:
    return Fraction(sum(line.pennies for line in found), 100)


@pytest.mark.parametrize("zone", [UTC, LONDON, KOLKATA], ids=str)
def test_the_key_figures_of_the_year(shop: Service, zone: ZoneInfo) -> None:
    answer = overview(shop, FIRST_DAY, DAY_AFTER, zone)
    found = by_name(answer)
    visits = sessions_of(lines.lines())
    number = len(visits)
    assert found["sessions"].value == found["sessions"].sample_size == number
    assert found["session_duration_seconds"].value == float(
        Fraction(sum(each.end - each.start for each in visits), number * 10**6)
    )
    assert found["pages_per_session"].value == 541_909 / number
    assert found["bounce_ratio"].value == sum(each.events == 1 for each in visits) / number
    assert found["revenue"].value == 9_747_747.93
    assert (round(found["aov"].value, 2), found["aov"].sample_size) == (376.36, 25_900)
    assert found["aov"].value == 9_747_747.93 / 25_900
    assert found["arpu"].value == found["ltv"].value == float(pounds(lines.lines()) / 4_372)
    assert (found["ltv"].sample_size, found["arpu"].sample_size) == (4_372, 4_372)
    people = lines.people_by_day(zone)
    for name, days in (("dau", 1), ("wau", 7), ("mau", 30)):
        assert found[name].value == lines.people_of_days(people, DAY_AFTER - timedelta(days=1), days)
    assert not found["mrr"].HasField("value")
    assert found["mrr"].absent_reason == "no subscription was paid for"
    assert answer.complete
    # Nothing happened in the year before.
    assert found["sessions"].previous_value == 0
    assert found["sessions"].change_absent_reason == "the previous value is 0"
    assert found["aov"].change_absent_reason == "there is no previous value"


@pytest.mark.parametrize("zone", [UTC, KOLKATA], ids=str)
def test_a_month_beside_the_days_before_it(shop: Service, zone: ZoneInfo) -> None:
    first, after = date(2011, 11, 1), date(2011, 12, 1)
    before = first - (after - first)
    answer = overview(shop, first, after, zone)
    assert moment(answer.previous_start_time) == local(before, zone)
    found = by_name(answer)

    def inside(start: date, end: date) -> list[lines.Line]:
        return [line for line in lines.lines() if local(start, zone) <= line.time < local(end, zone)]

    this, last = inside(first, after), inside(before, first)
    assert found["revenue"].value == float(pounds(this))
    assert found["revenue"].previous_value == float(pounds(last))
    assert found["revenue"].change_ratio == pytest.approx(float(pounds(this) / pounds(last) - 1), rel=1e-12)
    orders = [len({line.invoice for line in some}) for some in (this, last)]
    assert found["aov"].value == float(pounds(this) / orders[0])
    assert found["aov"].previous_value == float(pounds(last) / orders[1])
    assert found["ltv"].value == float(pounds(inside(FIRST_DAY, after)) / people_until(after, zone))
    assert found["ltv"].previous_value == float(pounds(inside(FIRST_DAY, first)) / people_until(first, zone))
    starts = [local(day, zone).timestamp() * 1e6 for day in (before, first, after)]
    visits = sessions_of(lines.lines())
    assert found["sessions"].value == sum(starts[1] <= each.start < starts[2] for each in visits)
    assert found["sessions"].previous_value == sum(starts[0] <= each.start < starts[1] for each in visits)
    people = lines.people_by_day(zone)
    assert found["mau"].value == lines.people_of_days(people, after - timedelta(days=1), 30)
    assert found["mau"].previous_value == lines.people_of_days(people, first - timedelta(days=1), 30)


@pytest.mark.parametrize("filters", [[], [FRANCE]], ids=["all", "France"])
@pytest.mark.parametrize("zone", [LONDON, KOLKATA], ids=str)
def test_orders_and_sessions_by_month(shop: Service, zone: ZoneInfo, filters: list[PropertyFilter]) -> None:
    wanted = [line for line in lines.lines() if not filters or line.country == "France"]
    months: dict[tuple[int, int], list[lines.Line]] = defaultdict(list)
    for line in wanted:
        day = lines.local_day(line.time, zone)
        months[day.year, day.month].append(line)
    begun: dict[tuple[int, int], int] = defaultdict(int)
    for each in sessions_of(wanted):
        day = lines.local_day(datetime.fromtimestamp(each.start // 1_000_000, UTC), zone)
        begun[day.year, day.month] += 1
    span = time_range(local(FIRST_DAY, zone), local(date(2012, 1, 1), zone))
    aov, arpu, visits = series(
        shop,
        [
            MetricQuery(
                name=name, interval=INTERVAL_MONTH, time_range=span, time_zone=zone.key, filters=filters
            )
            for name in ("aov", "arpu", "sessions")
        ],
    )
    assert len(months) == 13
    for order, person, session in zip(aov.points, arpu.points, visits.points, strict=True):
        day = moment(order.start_time, zone).date()
        own = months[day.year, day.month]
        orders = len({line.invoice for line in own})
        people = len({line.customer for line in own if line.customer})
        assert (order.value, order.sample_size) == (float(pounds(own) / orders), orders)
        assert (person.value, person.sample_size) == (float(pounds(own) / people), people)
        assert session.value == begun[day.year, day.month]
