"""A real shop's year: the days it was closed are no anomalies."""

import csv
import gzip
import math
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from brain.common.v1.common_pb2 import INTERVAL_DAY
from brain.forecasting.v1 import anomalies_pb2 as pb
from brain.forecasting.v1 import forecasts_pb2

from tests.services.forecasting.asking import DAY, points
from tests.services.forecasting.conftest import Service

SHOP = Path(__file__).parents[3] / "examples" / "data" / "online_retail.csv.gz"
FIRST, LAST = date(2010, 12, 1), date(2011, 12, 8)


@pytest.fixture(scope="module")
def revenue() -> dict[date, float]:
    """Revenue of each day with invoices."""
    sums: dict[date, float] = defaultdict(float)
    with gzip.open(SHOP, "rt") as file:
        for row in csv.DictReader(file):
            day = date.fromisoformat(row["invoice_time"][:10])
            sums[day] += float(row["quantity"]) * float(row["unit_price_gbp"])
    return dict(sums)


def days() -> Iterator[date]:
    return (FIRST + timedelta(at) for at in range((LAST - FIRST).days + 1))


def flagged(alone: Service, values: list[float], closures: list[str]) -> set[date]:
    first = int(datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC).timestamp()) * 1_000_000
    request = pb.DetectSeriesAnomaliesRequest(
        points=points(values, first),
        interval=INTERVAL_DAY,
        options=pb.AnomalyOptions(calendar=forecasts_pb2.BusinessCalendar(closures=closures)),
    )
    found = alone.forecasting.DetectSeriesAnomalies(request).found
    assert found.alerts_per_month < 1
    return {
        FIRST + timedelta((each.start_time.ToMicroseconds() - first) // DAY + at)
        for each in found.anomalies
        for at in range(each.points)
    }


def test_closed_days_are_no_anomalies(alone: Service, revenue: dict[date, float]) -> None:
    closed = [day for day in days() if day not in revenue]
    saturdays = [day for day in closed if day.weekday() == 5]
    holidays = [str(day) for day in closed if day.weekday() != 5]
    assert (len(saturdays), len(holidays)) == (53, 16)  # 304 of these 373 days have invoices
    values = [revenue.get(day, 0.0) for day in days()]
    assert not flagged(alone, values, []) & set(saturdays)  # nobody had to say so
    assert not flagged(alone, values, holidays) & set(closed)
    with_gap = [
        value if value or day in saturdays else math.nan for value, day in zip(values, days(), strict=True)
    ]
    assert np.isnan(with_gap).sum() == 16
    assert not flagged(alone, with_gap, []) & set(closed)
