"""Monthly recurring revenue: what the subscriptions that are paid for at an instant bring in a month."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import accumulate, groupby
from operator import attrgetter
from typing import TYPE_CHECKING

from services.events.domain import VALUE_SCALE
from shared.calendar import to_datetime, to_micros

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

# What a payment for each billing interval is in a year: twelve times what it is in a month.
PAYMENTS_A_YEAR = {"day": 365, "week": 52, "month": 12, "year": 1}


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment of somebody's subscription: Unix µs, millionths, and what it pays for."""

    subscription: tuple[int, str]
    time: int
    value: int
    billing_interval: str


@dataclass(frozen=True, slots=True)
class Recurring:
    """The paid subscriptions at an instant, and what they bring in a year, in millionths."""

    subscriptions: int
    yearly: int

    @property
    def monthly(self) -> float | None:
        """Amount a month; None without subscriptions."""
        return float(Fraction(self.yearly, 12 * VALUE_SCALE)) if self.subscriptions else None


def expiry(payment: Payment, zone: "ZoneInfo") -> int:
    """Return when a payment ends: the same local time a day, week, month or year later.

    A month or a year that has no such day ends it with its last day.
    """
    return to_micros(_later(to_datetime(payment.time, zone), payment.billing_interval))


def recurring(payments: Iterable[Payment], ends: Sequence[int], zone: "ZoneInfo") -> list[Recurring]:
    """Return what recurs at the end of each interval.

    Args:
        payments: ordered by subscription, then time.
        ends: the ends of the intervals, growing, in Unix µs; what ends with one is still paid in it.
        zone: whose calendar tells when payments end.

    """
    counts, sums = [0] * (len(ends) + 1), [0] * (len(ends) + 1)
    for _, own in groupby(payments, attrgetter("subscription")):
        for first, last, payment in _latest(list(own), ends, zone):
            yearly = payment.value * PAYMENTS_A_YEAR[payment.billing_interval]
            for position, sign in ((first, 1), (last, -1)):
                counts[position] += sign
                sums[position] += sign * yearly
    totals = list(zip(accumulate(counts), accumulate(sums), strict=True))
    return [Recurring(*each) for each in totals[: len(ends)]]


def _latest(
    payments: list[Payment], ends: Sequence[int], zone: "ZoneInfo"
) -> Iterable[tuple[int, int, Payment]]:
    """Yield the ranges of intervals at whose ends a payment of one subscription is the latest unexpired."""
    taken: list[tuple[int, int]] = []  # ranges of later payments, disjoint, the first one last
    for payment in reversed(payments):
        first = position = bisect_right(ends, payment.time)
        last = bisect_right(ends, expiry(payment, zone))
        while taken and taken[-1][0] <= last:
            low, high = taken.pop()
            if position < low:
                yield position, low, payment
            position = max(position, high)
        if position < last:
            yield position, last, payment
        taken.append((first, max(last, position)))


def _later(moment: datetime, billing_interval: str) -> datetime:
    if billing_interval in {"day", "week"}:
        return moment + timedelta(days=1 if billing_interval == "day" else 7)
    months = moment.month if billing_interval == "month" else moment.month + 11
    first = moment.replace(year=moment.year + months // 12, month=months % 12 + 1, day=1)
    last = (first.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    return first.replace(day=min(moment.day, last.day))
