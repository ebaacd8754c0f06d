"""Thirty-day revenue forecasts over the shop's year, beside the last week again and again."""

import csv
import gzip
from collections import defaultdict
from datetime import date, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from services.forecasting.models.forecast import forecast
from services.forecasting.models.values import Calendar, Forecast, Series, Step, Values

FILE = Path(__file__).parents[4] / "examples" / "data" / "online_retail.csv.gz"
FIRST, LAST = date(2010, 12, 1), date(2011, 12, 9)
HORIZON = 30
ORIGINS = range(60, 345, 7)
# Christmas to 3 January and the bank holidays of England, Sundays before them included.
CLOSURES = Calendar(
    closures=frozenset(
        [
            *(date(2010, 12, 24) + timedelta(days=day) for day in range(11)),
            *(
                date(2011, month, day)
                for month, day in ((4, 22), (4, 24), (4, 25), (4, 29), (5, 2), (5, 30), (8, 29))
            ),
        ]
    )
)


@cache
def revenue() -> Values:
    """Return the revenue of each day, days without any as 0."""
    days: dict[str, float] = defaultdict(float)
    with gzip.open(FILE, "rt") as file:
        for line in csv.DictReader(file):
            days[line["invoice_time"][:10]] += int(line["quantity"]) * float(line["unit_price_gbp"])
    span = (LAST - FIRST).days + 1
    return np.array([days.get((FIRST + timedelta(days=day)).isoformat(), 0.0) for day in range(span)])


def forecast_at(origin: int, calendar: Calendar) -> Forecast:
    return forecast(Series(revenue()[:origin], Step.DAY, FIRST), HORIZON, (0.8, 0.95), calendar)


def test_the_file_holds_the_shops_revenue() -> None:
    assert revenue().sum() == pytest.approx(9_747_747.93, abs=0.01)


@pytest.mark.parametrize(("calendar", "bar"), [(Calendar(), 0.85), (CLOSURES, 0.8)])
def test_forecasts_are_nearer_than_the_seasonal_naive_one(calendar: Calendar, bar: float) -> None:
    came = [revenue()[origin : origin + HORIZON] for origin in ORIGINS]
    made = [forecast_at(origin, calendar) for origin in ORIGINS]
    last_weeks = [revenue()[origin - 7 : origin][np.arange(HORIZON) % 7] for origin in ORIGINS]
    missed = np.mean([np.abs(each.mean - actual) for each, actual in zip(made, came, strict=True)])
    naive = np.mean([np.abs(week - actual) for week, actual in zip(last_weeks, came, strict=True)])
    assert missed < bar * naive
    total = [abs(each.total.value / actual.sum() - 1) for each, actual in zip(made, came, strict=True)]
    naive_total = [abs(week.sum() / actual.sum() - 1) for week, actual in zip(last_weeks, came, strict=True)]
    assert np.mean(total) < 0.8 * np.mean(naive_total)


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_intervals_cover_about_what_they_say(level: float) -> None:
    inside = []
    for origin in ORIGINS:
        (band,) = (band for band in forecast_at(origin, CLOSURES).bands if band.level == level)
        actual = revenue()[origin : origin + HORIZON]
        inside.append((band.lower <= actual) & (actual <= band.upper))
    assert np.mean(inside) == pytest.approx(level, abs=0.06)


def test_saturdays_and_closures_expect_nothing() -> None:
    made = forecast_at(140, CLOSURES)  # from 20 April, the Wednesday before Easter, on
    days = [FIRST + timedelta(days=140 + step) for step in range(HORIZON)]
    quiet = np.array([day.weekday() == 5 or day in CLOSURES.closures for day in days])
    assert not made.mean[quiet].any()
    assert (made.mean[~quiet] > 0).all()
