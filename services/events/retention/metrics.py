"""Metrics of coming back: new people, churn, engagement."""

from typing import TYPE_CHECKING

from services.events.domain import Population, Selection
from services.events.reading.active import trailing_unions
from services.events.reading.metrics import Metric, Point, Series
from services.events.retention.day_sets import DaySets
from services.events.retention.lifecycle import lifecycles, newcomers
from services.events.retention.questions import day_of
from services.events.retention.reading import (
    days_between,
    read_sets,
    read_sets_since_ever,
    sets_by_day,
)
from shared.calendar import Interval, buckets

if TYPE_CHECKING:
    from services.events.reading.store import CellStore

_PEOPLE = Population.PEOPLE
_MONTH_DAYS = 30


def _new_users(store: "CellStore", series: Series) -> list[Point]:
    selection = Selection(conditions=series.conditions)
    before, sets = read_sets_since_ever(store, series.intervals, selection, _PEOPLE)
    numbers = [len(users) for users in newcomers(before, sets)]
    return [Point(float(number), number) for number in numbers]


def _churn_ratio(store: "CellStore", series: Series) -> list[Point]:
    start = series.intervals[0][0]
    previous = buckets(start - 1, start, series.interval, series.zone)
    selection = Selection(conditions=series.conditions)
    first, *sets = read_sets(store, [*previous, *series.intervals], selection, _PEOPLE)
    active_before = [len(users) for users in (first, *sets[:-1])]
    found = zip(lifecycles(first, first, sets), active_before, strict=True)
    return [_share(each.dormant, number) for each, number in found]


def _engagement_score(store: "CellStore", series: Series) -> list[Point]:
    numbers = [day_of(start, series.zone) for start, _ in series.intervals]
    first = numbers[0] - _MONTH_DAYS + 1
    days = days_between(first, numbers[-1] + 1, series.zone)
    selection = Selection(conditions=series.conditions)
    sets = read_sets(store, [day for day in days if day[0] < day[1]], selection, _PEOPLE)
    daily = sets_by_day(first, days, sets)
    monthly = DaySets(numbers[0], trailing_unions(daily.sets, _MONTH_DAYS))
    return [_share(len(daily.of(day)), len(monthly.of(day))) for day in numbers]


def _share(part: int, whole: int) -> Point:
    return Point(part / whole if whole else None, whole)


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "new_users",
            "People whose first event ever lies in the interval.",
            "people",
            (Interval.HOUR, Interval.DAY, Interval.WEEK, Interval.MONTH),
            _new_users,
        ),
        Metric(
            "churn_ratio",
            "People active in the calendar week or month before and not in this one ÷ people active in the"
            " one before; not defined where nobody was.",
            "ratio",
            (Interval.WEEK, Interval.MONTH),
            _churn_ratio,
            absent_reason="nobody was active in the interval before",
        ),
        Metric(
            "engagement_score",
            "People active on the day ÷ people active on the 30 local days ending with it; not defined where"
            " nobody was.",
            "ratio",
            (Interval.DAY,),
            _engagement_score,
            absent_reason="nobody was active on the 30 days",
        ),
    )
}
