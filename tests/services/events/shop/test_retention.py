"""Who came back to the shop, beside sets made from the file."""

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY, INTERVAL_MONTH, INTERVAL_WEEK
from brain.events.v1 import cohorts_pb2
from brain.events.v1 import retention_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import (
    DAY_AFTER,
    FIRST_DAY,
    WHOLE,
    local,
    moment,
    series,
    time_range,
)

UTC, LONDON, KOLKATA = ZoneInfo("UTC"), ZoneInfo("Europe/London"), ZoneInfo("Asia/Kolkata")
DAYS = [FIRST_DAY + timedelta(days=number) for number in range((DAY_AFTER - FIRST_DAY).days)]
PEOPLE = 4_372  # customers in the file
OFFSETS = (0, 1, 7, 14, 30, 90)

People = dict[date, set[str]]


def month(day: date) -> date:
    return day.replace(day=1)


def week(day: date) -> date:
    return day - timedelta(days=day.weekday())


def first_days(people: People) -> dict[str, date]:
    """Return the first day of everybody."""
    result: dict[str, date] = {}
    for day in sorted(people):
        for person in people[day]:
            result.setdefault(person, day)
    return result


def came_back(entered: Iterable[tuple[str, date]], people: People, offset: int) -> int:
    return sum(person in people.get(day + timedelta(days=offset), set()) for person, day in entered)


@pytest.mark.parametrize("zone", [UTC, LONDON, KOLKATA], ids=str)
def test_first_customers_of_each_month_by_their_own_days(shop: Service, zone: ZoneInfo) -> None:
    people = lines.people_by_day(zone)
    first = first_days(people)
    answer = shop.events.GetRetention(
        pb.GetRetentionRequest(
            interval=INTERVAL_MONTH,
            offset_days=OFFSETS,
            entry=pb.RETENTION_ENTRY_FIRST_EVER,
            time_range=time_range(local(FIRST_DAY, zone), local(DAY_AFTER, zone)),
            time_zone=zone.key,
        )
    )
    assert sum(cohort.size for cohort in answer.cohorts) == PEOPLE
    for cohort in answer.cohorts:
        begun = moment(cohort.start_time, zone).date()
        entered = [(person, day) for person, day in first.items() if month(day) == begun]
        assert cohort.size == len(entered)
        assert [cell.returned for cell in cohort.cells] == [
            came_back(entered, people, offset) for offset in OFFSETS
        ]
    assert len(answer.cohorts) == 13


def test_buyers_of_each_day_who_bought_again(folded_shop: Service) -> None:
    """Recurring: whoever buys on a day is in its cohort."""
    people: People = {}
    for visit in lines.visits():
        if visit.customer and visit.event == "item_purchased":
            people.setdefault(visit.time.date(), set()).add(visit.customer)
    answer = folded_shop.events.GetRetention(
        pb.GetRetentionRequest(
            start_event="item_purchased",
            return_events=["item_purchased"],
            interval=INTERVAL_DAY,
            offset_days=OFFSETS,
            time_range=WHOLE,
        )
    )
    for cohort, day in zip(answer.cohorts, DAYS, strict=True):
        entered = [(person, day) for person in people.get(day, ())]
        assert cohort.size == len(entered)
        assert [cell.returned for cell in cohort.cells] == [
            came_back(entered, people, offset) for offset in OFFSETS
        ]
    # It is noon on 16 December: day 7 of the ninth has not closed, that of the eighth has.
    assert [cohort.cells[2].complete for cohort in answer.cohorts[-2:]] == [True, False]


def test_buyers_who_returned_something_later_in_the_year(folded_shop: Service) -> None:
    bought: dict[str, date] = {}
    returned: dict[str, list[date]] = {}
    for visit in sorted(lines.visits()):
        if visit.customer and visit.event == "item_purchased":
            bought.setdefault(visit.customer, visit.time.date())
        elif visit.customer:
            returned.setdefault(visit.customer, []).append(visit.time.date())
    answer = folded_shop.events.GetRetention(
        pb.GetRetentionRequest(
            start_event="item_purchased",
            return_events=["item_returned"],
            interval=INTERVAL_WEEK,
            offset_days=[0, 30],
            mode=pb.RETENTION_MODE_ON_OR_AFTER,
            entry=pb.RETENTION_ENTRY_FIRST_EVER,
            time_range=WHOLE,
        )
    )
    for cohort in answer.cohorts:
        begun = moment(cohort.start_time).date()
        entered = {person: day for person, day in bought.items() if week(day) == begun}
        assert cohort.size == len(entered)
        assert [cell.returned for cell in cohort.cells] == [
            sum(
                any(day >= entry + timedelta(days=offset) for day in returned.get(person, ()))
                for person, entry in entered.items()
            )
            for offset in (0, 30)
        ]


@pytest.mark.parametrize("zone", [UTC, KOLKATA], ids=str)
def test_new_people_and_churn(shop: Service, zone: ZoneInfo) -> None:
    people = lines.people_by_day(zone)
    first = list(first_days(people).values())
    months = sorted({month(day) for day in DAYS})
    active = {start: set[str]() for start in months}
    for day, found in people.items():
        active[month(day)] |= found
    span = time_range(local(FIRST_DAY, zone), local(DAY_AFTER, zone))
    daily, monthly, churn = series(
        shop,
        [
            MetricQuery(name=name, interval=interval, time_range=span, time_zone=zone.key)
            for name, interval in (
                ("new_users", INTERVAL_DAY),
                ("new_users", INTERVAL_MONTH),
                ("churn_ratio", INTERVAL_MONTH),
            )
        ],
    )
    assert [point.value for point in daily.points] == [first.count(day) for day in DAYS]
    assert sum(point.value for point in daily.points) == PEOPLE
    assert [point.value for point in monthly.points] == [
        sum(month(day) == start for day in first) for start in months
    ]
    assert not churn.points[0].HasField("value")  # nobody was there before
    assert [point.value for point in churn.points[1:]] == [
        len(active[before] - active[start]) / len(active[before]) for before, start in pairwise(months)
    ]


def test_days_active_of_each_month(folded_shop: Service) -> None:
    people = lines.people_by_day(UTC)
    answer = folded_shop.events.GetStickiness(
        pb.GetStickinessRequest(interval=INTERVAL_MONTH, time_range=WHOLE)
    )
    for period in answer.periods:
        begun = moment(period.start_time).date()
        days: dict[str, int] = {}
        for day, found in people.items():
            for person in found if month(day) == begun else ():
                days[person] = days.get(person, 0) + 1
        assert period.users == len(days)
        assert [bucket.users for bucket in period.histogram] == [
            list(days.values()).count(bucket.days) for bucket in period.histogram
        ]
        assert period.average_days == pytest.approx(sum(days.values()) / len(days), rel=1e-12)


def test_a_cohort_of_the_first_month(folded_shop: Service) -> None:
    december = time_range(local(FIRST_DAY, LONDON), local(date(2011, 1, 1), LONDON))
    definition = cohorts_pb2.CohortDefinition(time_range=december, time_zone=LONDON.key)
    cohort = cohorts_pb2.Cohort(cohort_id="december", name="December 2010", definition=definition)
    folded_shop.events.CreateCohort(cohorts_pb2.CreateCohortRequest(cohort=cohort))
    answer = folded_shop.events.GetCohort(cohorts_pb2.GetCohortRequest(cohort_id="december"))
    people = lines.people_by_day(LONDON)
    entered = [(person, day) for person, day in first_days(people).items() if month(day) == FIRST_DAY]
    members = {person for person, _ in entered}
    assert answer.users == len(members)
    assert [each.returned for each in answer.retention] == [
        came_back(entered, people, offset) for offset in (1, 7, 14, 30)
    ]
    today = date(2011, 12, 16)
    lately = [people.get(today - timedelta(days=back), set()) for back in range(30)]
    assert answer.active_month_users == len(members & set().union(*lately))
    assert answer.active_week_users == len(members & set().union(*lately[:7]))
    assert answer.active_day_users == 0
