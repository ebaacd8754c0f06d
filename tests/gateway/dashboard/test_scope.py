from datetime import UTC, date, datetime
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.page import scope
from gateway.dashboard.page.scope import Scope
from shared.validation import Violations

UTC_ZONE = ZoneInfo("UTC")


def read(parameters: dict[str, str], now: datetime, zone: ZoneInfo = UTC_ZONE) -> Scope:
    violations = Violations()
    found = scope.read(violations, parameters, now, zone)
    violations.raise_if_any()
    return found


def hours(shown: Scope) -> float:
    asked = shown.time_range()
    return (asked.end_time.seconds - asked.start_time.seconds) / 3600


@pytest.mark.parametrize(
    ("zone", "day", "length"),
    [
        ("Europe/London", date(2011, 3, 27), 23),
        ("Europe/London", date(2011, 10, 30), 25),
        ("Australia/Lord_Howe", date(2011, 10, 2), 23.5),
        ("Australia/Lord_Howe", date(2011, 4, 3), 24.5),
        ("Asia/Kolkata", date(2012, 1, 1), 24),
        # Clocks go from 00:00 to 01:00.
        ("America/Sao_Paulo", date(2011, 10, 16), 23),
    ],
)
def test_days_are_as_long_as_their_zone_has_them(zone: str, day: date, length: float) -> None:
    now = datetime(day.year + 1, 1, 15, tzinfo=UTC)
    asked = {"range": "custom", "from": day.isoformat(), "to": day.isoformat(), "zone": zone}
    assert hours(read(asked, now)) == length


def test_today_is_the_zones() -> None:
    now = datetime(2011, 12, 31, 20, tzinfo=UTC)
    assert read({"range": "today"}, now).first == date(2011, 12, 31)
    assert read({"range": "today", "zone": "Asia/Kolkata"}, now).first == date(2012, 1, 1)


@given(
    name=st.sampled_from([*scope.RANGES]),
    zone=st.sampled_from(["UTC", "Europe/London", "Australia/Lord_Howe", "Asia/Kolkata"]),
    compare=st.booleans(),
)
def test_an_address_says_the_whole_scope(name: str, zone: str, *, compare: bool) -> None:
    now = datetime(2012, 1, 1, 3, tzinfo=UTC)
    shown = read({"range": name, "zone": zone} | ({"compare": "1"} if compare else {}), now)
    again = {key: value[0] for key, value in parse_qs(shown.query()).items()}
    assert read(again, now) == shown
    assert shown.days == scope.RANGES[name]


def test_the_previous_days_end_where_these_begin() -> None:
    shown = read({"range": "30d"}, datetime(2012, 1, 15, tzinfo=UTC))
    before = shown.previous()
    assert before.days == 30
    assert before.time_range().end_time == shown.time_range().start_time


def test_days_to_come_are_left_out() -> None:
    asked = {"range": "custom", "from": "2012-01-10", "to": "2012-02-01"}
    assert read(asked, datetime(2012, 1, 15, tzinfo=UTC)).last == date(2012, 1, 15)
