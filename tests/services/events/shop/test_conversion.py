"""Who bought and then returned, and how long it took, beside a search through the file's lines."""

from collections import defaultdict
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import cache
from statistics import fmean, median
from zoneinfo import ZoneInfo

import pytest
from brain.common.v1.common_pb2 import INTERVAL_MONTH
from brain.events.v1 import conversion_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery

from tests.services.events.conftest import Service
from tests.services.events.shop import lines
from tests.services.events.shop.asking import (
    DAY_AFTER,
    FIRST_DAY,
    START,
    WHOLE,
    local,
    moment,
    series,
    time_range,
)
from tests.services.events.shop.lines import Visit

BOUGHT, RETURNED = "item_purchased", "item_returned"
LONDON = ZoneInfo("Europe/London")
WINDOW = timedelta(days=14)


@cache
def month_of(time: datetime) -> str:
    return time.astimezone(LONDON).strftime("%Y-%m")


@cache
def timelines() -> dict[tuple[str, str], list[Visit]]:
    """Visits by actor."""
    found: dict[tuple[str, str], list[Visit]] = defaultdict(list)
    for visit in lines.visits():
        found[visit.actor].append(visit)
    return found


def in_month(month: str) -> Callable[[datetime], bool]:
    return lambda time: month_of(time) == month


def waits(window: timedelta | None, starts_in: Callable[[datetime], bool]) -> list[float | None]:
    """Seconds from the first purchase that a return followed, of everybody who bought; None for none."""
    result = []
    for visits in timelines().values():
        bought = sorted(each.time for each in visits if each.event == BOUGHT and starts_in(each.time))
        returned = [each.time for each in visits if each.event == RETURNED]
        pairs = [
            (start, end)
            for start in bought
            for end in returned
            if start <= end and (window is None or end - start <= window)
        ]
        if bought:
            result.append((min(pairs)[1] - min(pairs)[0]).total_seconds() if pairs else None)
    return result


def question(**changes: object) -> pb.GetConversionRateRequest:
    return pb.GetConversionRateRequest(
        start_event=BOUGHT,
        end_event=RETURNED,
        window_minutes=WINDOW // timedelta(minutes=1),
        time_range=WHOLE,
        **changes,  # type: ignore[arg-type]  # of the request's fields
    )


def test_returns_within_a_fortnight(shop: Service) -> None:
    expected = waits(WINDOW, lambda _: True)
    converted = [each for each in expected if each is not None]
    total = shop.events.GetConversionRate(question()).total
    assert (total.starters, total.converters) == (len(expected), len(converted))
    assert total.converters > 500
    assert (total.median_seconds, total.mean_seconds) == pytest.approx((median(converted), fmean(converted)))


def test_every_month_of_a_wall_calendar(folded_shop: Service) -> None:
    request = question(interval=INTERVAL_MONTH, time_zone="Europe/London")
    points = folded_shop.events.GetConversionRate(request).points
    assert len(points) == 13
    for point in points:
        month = month_of(moment(point.start_time))
        expected = waits(WINDOW, in_month(month))
        found = (point.rate.starters, point.rate.converters)
        assert found == (len(expected), sum(each is not None for each in expected))


def test_countries_add_up_to_everybody(folded_shop: Service) -> None:
    country_of: dict[tuple[str, str], list[tuple[datetime, str]]] = defaultdict(list)
    for line in lines.lines():
        if line.event == BOUGHT:
            actor = ("user", line.customer) if line.customer else ("session", line.invoice)
            country_of[actor].append((line.time, line.country))
    # Somebody who always buys from one country can be in no other group.
    settled: dict[str, int] = defaultdict(int)
    movers = 0
    for purchases in country_of.values():
        countries = {country for _, country in purchases}
        if len(countries) == 1:
            settled[countries.pop()] += 1
        else:
            movers += 1
    answer = folded_shop.events.GetConversionRate(question(group_property="country", page_size=1_000))
    found = {group.group.strip('"'): group.rate.starters for group in answer.groups}
    assert found.keys() >= settled.keys()
    assert all(found[country] >= number for country, number in settled.items())
    assert sum(found.values()) == sum(settled.values()) + movers == answer.total.starters
    assert sum(group.rate.converters for group in answer.groups) == answer.total.converters


def test_adoption_and_time_to_value_of_returns(folded_shop: Service) -> None:
    first_return: dict[str, datetime] = {}
    first_visit: dict[str, datetime] = {}
    for visit in lines.visits():
        if visit.customer:
            first_visit[visit.customer] = min(visit.time, first_visit.get(visit.customer, visit.time))
            if visit.event == RETURNED:
                first_return[visit.customer] = min(visit.time, first_return.get(visit.customer, visit.time))
    span = time_range(local(FIRST_DAY, LONDON), local(DAY_AFTER, LONDON))
    names = ("feature_adoption_ratio", "time_to_value_seconds")
    adoption, waiting = series(
        folded_shop,
        [
            MetricQuery(
                name=name,
                labels={"event": RETURNED},
                interval=INTERVAL_MONTH,
                time_range=span,
                time_zone="Europe/London",
            )
            for name in names
        ],
    )
    assert len(adoption.points) == len(waiting.points) == 13
    for ratio, seconds in zip(adoption.points, waiting.points, strict=True):
        inside = in_month(month_of(moment(ratio.start_time)))
        active = {visit.customer for visit in lines.visits() if visit.customer and inside(visit.time)}
        returning = {
            visit.customer
            for visit in lines.visits()
            if visit.customer and visit.event == RETURNED and inside(visit.time)
        }
        assert (ratio.value, ratio.sample_size) == (len(returning) / len(active), len(active))
        taken = [
            (time - first_visit[who]).total_seconds() for who, time in first_return.items() if inside(time)
        ]
        assert seconds.sample_size == len(taken)
        assert seconds.value == pytest.approx(median(taken))


def test_completion_has_no_window(folded_shop: Service) -> None:
    [completion] = series(
        folded_shop,
        [
            MetricQuery(
                name="completion_ratio",
                labels={"start": BOUGHT, "end": RETURNED},
                interval=INTERVAL_MONTH,
                time_range=time_range(START, START + timedelta(days=1)),
            )
        ],
    )
    [december] = completion.points
    expected = waits(None, lambda time: time.date() < date(2011, 1, 1))
    assert december.sample_size == len(expected)
    assert december.value == sum(each is not None for each in expected) / len(expected)
