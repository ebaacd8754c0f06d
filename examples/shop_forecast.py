"""What is to come for the shop: revenue of the next two weeks, strange days, and who will come back."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from brain.common.v1.common_pb2 import INTERVAL_DAY
from brain.forecasting.v1 import anomalies_pb2, customers_pb2, forecasts_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console
from rich.table import Table

from brain_client.questions import time_range
from examples.patience import PATIENCE_SECONDS
from shared.clients import channel

_DAYS = 14
_CHURN_DAYS = 90
Answer = TypeVar("Answer")


def demo(address: str, token: str, last: datetime) -> None:
    """Print what was to be expected at the end of the day of `last`, the last event."""
    console = Console()
    end = last.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    as_of = Timestamp()
    as_of.FromDatetime(min(end, datetime.now(UTC)))
    with channel(address, token, deadline_seconds=PATIENCE_SECONDS) as calls:
        forecasting = ForecastingServiceStub(calls)
        _revenue(console, forecasting, as_of)
        _anomalies(console, forecasting, end)
        _churn(console, forecasting, as_of)


def _revenue(console: Console, forecasting: ForecastingServiceStub, as_of: Timestamp) -> None:
    options = forecasts_pb2.MetricForecastOptions(
        options=forecasts_pb2.ForecastOptions(horizon=_DAYS), as_of_time=as_of
    )
    request = forecasts_pb2.PredictRevenueRequest(options=options)
    reply, took = _timed(lambda: forecasting.PredictRevenue(request))
    found = reply.forecast
    table = Table("day (UTC)", title=f"Revenue to come ({took})", title_justify="left")
    for heading in ("expected", "80 of 100 times"):
        table.add_column(heading, justify="right")
    for point in found.points:
        likely = point.intervals[0]
        day = point.start_time.ToDatetime(UTC)
        table.add_row(
            f"{day:%a %Y-%m-%d}", f"{point.expected:,.0f}", f"{likely.lower:,.0f} to {likely.upper:,.0f}"
        )
    console.print(table)
    if found.HasField("back_test"):
        ours, naive = found.back_test.model, found.back_test.seasonal_naive
        console.print(
            f"On its own past: mean error {ours.mean_absolute_error:,.0f}, "
            f"of repeating the last week {naive.mean_absolute_error:,.0f}"
        )


def _anomalies(console: Console, forecasting: ForecastingServiceStub, end: datetime) -> None:
    request = anomalies_pb2.DetectAnomaliesRequest(
        metric=forecasts_pb2.MetricReference(name="revenue", interval=INTERVAL_DAY),
        time_range=time_range(end - timedelta(days=90), end),
    )
    reply, took = _timed(lambda: forecasting.DetectAnomalies(request))
    days = [each.peak for each in reply.found.anomalies]
    console.print(f"\nDays out of the ordinary in the last 90 ({took}): {len(days)}")
    for peak in days:
        day = peak.start_time.ToDatetime(UTC)
        console.print(f"  {day:%a %Y-%m-%d}: {peak.value:,.0f}, expected {peak.expected:,.0f}")


def _churn(console: Console, forecasting: ForecastingServiceStub, as_of: Timestamp) -> None:
    request = customers_pb2.PredictChurnRequest(
        purchases=customers_pb2.PurchaseHistory(events=["item_purchased"], as_of_time=as_of),
        horizon_days=_CHURN_DAYS,
        page_size=1,
    )
    reply, took = _timed(lambda: forecasting.PredictChurn(request))
    console.print(
        f"\nOf {reply.total_customers:,} customers {reply.expected_churned:,.0f} will buy nothing "
        f"in the next {_CHURN_DAYS} days ({took})"
    )


def _timed(ask: Callable[[], Answer]) -> tuple[Answer, str]:
    began = time.perf_counter()
    answer = ask()
    return answer, f"{(time.perf_counter() - began) * 1000:.0f} ms"
