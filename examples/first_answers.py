"""The first questions to a shop's events, each with the time its answer took."""

import json
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from brain.common.v1.common_pb2 import Interval
from brain.events.v1.events_pb2 import (
    ActivePeriod,
    ActiveUsers,
    CountEventsRequest,
    CountGroup,
    EventCount,
    GetActiveUsersRequest,
)
from rich.console import Console
from rich.table import Table

from brain_client import Brain
from brain_client.questions import time_range

DAYS = 10
PRODUCTS = 10
Answer = TypeVar("Answer")


def show(brain: Brain, console: Console, first: datetime, last: datetime) -> None:
    """Print active people by day and month, revenue by month and top products of [first, last]."""
    end = (last + timedelta(days=1)).astimezone(UTC).replace(hour=0, minute=0)
    days, took = _timed(lambda: active_people(brain, "DAY", end - timedelta(days=DAYS), end))
    rows = ([f"{_start(day):%a %Y-%m-%d}", f"{day.users:,}"] for day in days)
    _print(console, f"Daily active users ({took})", ["day (UTC)", "people"], rows)

    now, took = _timed(lambda: brain.active_users("month"))
    console.print(f"\nActive in the 30 days ending today: {now:,} people ({took})")

    months, took = _timed(lambda: active_people(brain, "MONTH", first, end))
    rows = ([f"{_start(month):%Y-%m}", f"{month.users:,}"] for month in months)
    _print(console, f"Monthly active users ({took})", ["month", "people"], rows)

    revenue, took = _timed(lambda: revenue_by_month(brain, first, end))
    rows = ([f"{_start(month):%Y-%m}", f"{month.value_sum:,.2f}"] for month in revenue)
    _print(console, f"Revenue by month ({took})", ["month", "GBP"], rows)

    products, took = _timed(lambda: top_products(brain, first, end))
    rows = (
        [str(json.loads(each.group)), f"{each.events:,}", f"{each.users:,}", f"{each.value_sum:,.2f}"]
        for each in products
    )
    _print(console, f"Top products ({took})", ["stock code", "invoice lines", "people", "GBP"], rows)


def active_people(brain: Brain, period: str, start: datetime, end: datetime) -> Sequence[ActiveUsers]:
    """Count people for each calendar DAY, WEEK or MONTH that [start, end) touches."""
    request = GetActiveUsersRequest(
        period=ActivePeriod.Value(f"ACTIVE_PERIOD_{period}"), time_range=time_range(start, end)
    )
    return brain.events.GetActiveUsers(request).active_users


def revenue_by_month(brain: Brain, start: datetime, end: datetime) -> Sequence[EventCount]:
    """Sum the values of the category revenue, returns included."""
    request = CountEventsRequest(
        category="revenue", time_range=time_range(start, end), interval=Interval.INTERVAL_MONTH
    )
    return brain.events.CountEvents(request).counts


def top_products(brain: Brain, start: datetime, end: datetime) -> Sequence[EventCount]:
    """Count purchases by stock code, most invoice lines first."""
    request = CountEventsRequest(
        events=["item_purchased"],
        time_range=time_range(start, end),
        group_by=CountGroup.COUNT_GROUP_PROPERTY,
        group_property="stock_code",
        page_size=PRODUCTS,
    )
    return brain.events.CountEvents(request).counts


def _timed(ask: Callable[[], Answer]) -> tuple[Answer, str]:
    start = time.perf_counter()
    answer = ask()
    return answer, f"{(time.perf_counter() - start) * 1_000:.1f} ms"


def _start(period: ActiveUsers | EventCount) -> datetime:
    return period.start_time.ToDatetime(UTC)


def _print(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table()
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(f"\n[bold]{title}[/bold]")
    console.print(table)
