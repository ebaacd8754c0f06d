"""Monthly recurring revenue beside a rule that looks at every payment for every instant."""

from calendar import monthrange
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.reading.recurring import Payment, Recurring, expiry, recurring

LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
YEARLY = {"day": 365, "week": 52, "month": 12, "year": 1}


def micros(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def paid(moment: datetime, billing_interval: str, value: int = 12, name: str = "") -> Payment:
    return Payment((1, name), micros(moment), value * 1_000_000, billing_interval)


def later(moment: datetime, billing_interval: str) -> datetime:
    """The same wall clock later, the last day of the month where it lacks the day."""
    if billing_interval in {"day", "week"}:
        return moment + timedelta(days={"day": 1, "week": 7}[billing_interval])
    year, month = moment.year + (billing_interval == "year"), moment.month + (billing_interval == "month")
    if month == 13:
        year, month = year + 1, 1
    return moment.replace(year=year, month=month, day=min(moment.day, monthrange(year, month)[1]))


@pytest.mark.parametrize(
    ("start", "billing_interval", "end"),
    [
        ((2011, 1, 31, 12), "month", (2011, 2, 28, 12)),
        ((2012, 1, 31, 12), "month", (2012, 2, 29, 12)),
        ((2012, 2, 29, 12), "year", (2013, 2, 28, 12)),
        ((2011, 12, 31, 23), "month", (2012, 1, 31, 23)),
        ((2011, 12, 1), "month", (2012, 1, 1)),
        ((2011, 4, 1, 12), "week", (2011, 4, 8, 12)),  # clocks are put back meanwhile
        ((2011, 4, 2, 12), "day", (2011, 4, 3, 12)),
    ],
)
def test_a_payment_ends_at_the_same_local_time(
    start: tuple[int, ...], billing_interval: str, end: tuple[int, ...]
) -> None:
    first, last = (datetime(*parts, tzinfo=LORD_HOWE) for parts in (start, end))  # type: ignore[misc,arg-type]  # year, month, day, hour
    assert expiry(paid(first, billing_interval), LORD_HOWE) == micros(last)


def expected(payments: list[Payment], end: int) -> Recurring:
    latest = {}
    for payment in payments:
        start = datetime.fromtimestamp(payment.time // 1_000_000, UTC)
        if payment.time < end <= micros(later(start, payment.billing_interval)):
            latest[payment.subscription] = payment
    yearly = sum(each.value * YEARLY[each.billing_interval] for each in latest.values())
    return Recurring(len(latest), yearly)


some = st.builds(
    Payment,
    st.tuples(st.integers(1, 2), st.sampled_from(["", "a"])),
    st.integers(0, 800).map(lambda days: micros(datetime(2011, 1, 1, tzinfo=UTC) + timedelta(days=days))),
    st.integers(0, 10**18),
    st.sampled_from(sorted(YEARLY)),
)
DAYS = [micros(datetime(2011, 1, 1, tzinfo=UTC) + timedelta(days=days)) for days in range(0, 1_200, 3)]


@given(st.lists(some, max_size=12))
def test_the_latest_unexpired_payment_of_each_subscription_counts(payments: list[Payment]) -> None:
    ordered = sorted(payments, key=lambda payment: (payment.subscription, payment.time))
    assert recurring(ordered, DAYS, ZoneInfo("UTC")) == [expected(ordered, end) for end in DAYS]


@pytest.mark.parametrize(
    ("billing_interval", "monthly"),
    [
        ("day", Fraction(12 * 365, 12)),
        ("week", Fraction(12 * 52, 12)),
        ("month", Fraction(12)),
        ("year", Fraction(1)),
    ],
)
def test_amounts_are_those_of_a_month(billing_interval: str, monthly: Fraction) -> None:
    start = datetime(2011, 5, 1, tzinfo=UTC)
    [found] = recurring([paid(start, billing_interval)], [micros(start) + 1], ZoneInfo("UTC"))
    assert found.monthly == float(monthly)


def test_what_ends_with_an_interval_is_still_paid_in_it_and_not_later() -> None:
    start, end = datetime(2011, 1, 1, tzinfo=UTC), datetime(2011, 2, 1, tzinfo=UTC)
    found = recurring([paid(start, "month")], [micros(start), micros(end), micros(end) + 1], ZoneInfo("UTC"))
    assert [each.monthly for each in found] == [None, 12.0, None]


def test_a_longer_payment_counts_again_when_a_later_one_has_expired() -> None:
    year = paid(datetime(2011, 1, 1, tzinfo=UTC), "year", 120)
    day = paid(datetime(2011, 3, 1, tzinfo=UTC), "day", 3)
    ends = [micros(datetime(2011, 3, each, tzinfo=UTC)) for each in (1, 2, 3)]
    assert [each.yearly for each in recurring([year, day], ends, ZoneInfo("UTC"))] == [
        120_000_000,
        365 * 3_000_000,
        120_000_000,
    ]
