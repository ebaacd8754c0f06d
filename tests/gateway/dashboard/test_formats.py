import math
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.page import formats


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (38.4, "38.4"),
        (9.999, "10.0"),
        (99.96, "100"),
        (0.0123, "0.0123"),
        (1234.5, "1,230"),
        (-2.5, "-2.50"),
        (100, "100"),
    ],
)
def test_three_digits_are_significant(number: float, text: str) -> None:
    assert formats.significant(number) == text


@given(st.floats(min_value=1e-6, max_value=1e12))
def test_three_digits_are_within_half_of_the_third(number: float) -> None:
    shown = float(formats.significant(number).replace(",", ""))
    assert abs(shown - number) <= 0.5000001 * 10 ** (math.floor(math.log10(number)) - 2)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (541_909, "541,909"),
        (999_999, "999,999"),
        (9_747_747.93, "9.75 M"),
        (2.5e9, "2.50 B"),
        (7e12, "7.00 T"),
    ],
)
def test_large_counts_are_shortened(number: float, text: str) -> None:
    assert formats.short(number) == text


def test_units_are_always_told() -> None:
    assert formats.quantity(0.384, "ratio", "GBP") == "38.4 %"
    assert formats.quantity(9_747_747.93, "currency", "GBP") == "9.75 M GBP"
    assert formats.quantity(9_747_747.93, "currency", "") == "9.75 M"
    assert formats.exact(9_747_747.93, "currency", "GBP") == "9,747,747.93 GBP"
    assert formats.exact(4372, "people", "GBP") == "4,372 people"
    assert formats.exact(0.384, "ratio", "") == "0.384000"


def test_changes_carry_their_sign() -> None:
    assert formats.signed_percent(0.123) == "+12.3 %"
    assert formats.signed_percent(-0.04) == "\N{MINUS SIGN}4.00 %"
    assert formats.signed_percent(0) == "±0 %"


def test_times_are_told_in_the_zone() -> None:
    instant = datetime(2011, 12, 31, 23, 45, tzinfo=UTC)
    assert formats.time_of(instant, ZoneInfo("Asia/Kolkata")) == "1 Jan 2012, 05:15:00"
    assert formats.exact_time(instant, ZoneInfo("Asia/Kolkata")) == "2012-01-01T05:15:00+05:30"
    assert formats.day(date(2011, 12, 9)) == "Fri 9 Dec 2011"
