"""What holds on every tab: which days, in which zone, which goal. It lives in the address of every page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from brain.common.v1 import common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.dashboard.page import goals
from gateway.dashboard.page.goals import NO_GOAL, Goal
from shared import validation
from shared.validation import Violations

# Days that each named range holds, today included.
RANGES: Final = {"today": 1, "7d": 7, "30d": 30, "90d": 90, "12m": 365}
RANGE_TITLES: Final = {"today": "Today", "7d": "7 d", "30d": "30 d", "90d": "90 d", "12m": "12 m"}
DEFAULT_RANGE: Final = "30d"
CUSTOM: Final = "custom"
MAXIMUM_DAYS: Final = 3_660

_FIRST_DAY = date(2000, 1, 1)
_HOURLY_DAYS, _DAILY_DAYS, _WEEKLY_DAYS = 2, 100, 800


@dataclass(frozen=True, slots=True)
class Scope:
    """Whole days of one zone, whether to set them beside the days before, and the goal of all tabs."""

    name: str
    first: date
    last: date
    zone: ZoneInfo
    compare: bool
    now: datetime
    # What the card of the conversion rate shows.
    goal: Goal = NO_GOAL

    @property
    def days(self) -> int:
        """How many days it holds."""
        return (self.last - self.first).days + 1

    @property
    def today(self) -> date:
        """The day that is not over yet."""
        return self.now.astimezone(self.zone).date()

    @property
    def interval(self) -> "common_pb2.Interval.ValueType":
        """The length of a point that leaves between 24 and about 120 of them."""
        if self.days <= _HOURLY_DAYS:
            return common_pb2.INTERVAL_HOUR
        if self.days <= _DAILY_DAYS:
            return common_pb2.INTERVAL_DAY
        return common_pb2.INTERVAL_WEEK if self.days <= _WEEKLY_DAYS else common_pb2.INTERVAL_MONTH

    def previous(self) -> "Scope":
        """Return as many days, those right before."""
        shift = timedelta(days=self.days)
        first, last = self.first - shift, self.last - shift
        return replace(self, name=CUSTOM, first=first, last=last, compare=False)

    def time_range(self) -> common_pb2.TimeRange:
        """Return the range that services are asked for."""
        return days_range(self.first, self.last, self.zone)

    def parameters(self, **changes: str) -> dict[str, str]:
        """Return what makes the same scope again, in an address."""
        kept = {"range": self.name, "zone": self.zone.key}
        if self.name == CUSTOM:
            kept |= {"from": self.first.isoformat(), "to": self.last.isoformat()}
        if self.compare:
            kept["compare"] = "1"
        return {name: value for name, value in (kept | self.goal.parameters() | changes).items() if value}

    def query(self, **changes: str) -> str:
        """Return the parameters as the query of an address."""
        return urlencode(self.parameters(**changes))


def read(
    violations: Violations, parameters: Mapping[str, str], now: datetime, reporting_zone: ZoneInfo
) -> Scope:
    """Read the scope of an address."""
    zone = validation.time_zone(violations, "zone", parameters.get("zone", ""), reporting_zone)
    today = now.astimezone(zone).date()
    name = parameters.get("range", DEFAULT_RANGE)
    if name == CUSTOM:
        first, last = _custom_days(violations, parameters, today)
    else:
        days = RANGES.get(name)
        if days is None:
            violations.add("range", f"must be one of {', '.join([*RANGES, CUSTOM])}")
        first, last = today - timedelta(days=(days or 1) - 1), today
    compare = parameters.get("compare", "")
    if compare not in {"", "1"}:
        violations.add("compare", "must be 1 or absent")
    return Scope(name, first, last, zone, compare == "1", now, goals.read(violations, parameters))


def _custom_days(violations: Violations, parameters: Mapping[str, str], today: date) -> tuple[date, date]:
    first = _day(violations, "from", parameters.get("from", ""))
    last = _day(violations, "to", parameters.get("to", ""))
    if first is None or last is None:
        return today, today
    last = min(last, today)
    if not _FIRST_DAY <= first <= last:
        violations.add("from", "must be from 2000-01-01 on, not after `to` and not after today")
    elif (last - first).days >= MAXIMUM_DAYS:
        violations.add("from", f"must be less than {MAXIMUM_DAYS:,} days before `to`")
    return first, last


def _day(violations: Violations, field: str, text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        violations.add(field, "must be a day as YYYY-MM-DD")
        return None


def days_range(first: date, last: date, zone: ZoneInfo) -> common_pb2.TimeRange:
    """Return the range from the first day's beginning to the last day's end in a zone."""
    return common_pb2.TimeRange(
        start_time=_beginning(first, zone), end_time=_beginning(last + timedelta(days=1), zone)
    )


def _beginning(day: date, zone: ZoneInfo) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.combine(day, time.min, zone).astimezone(UTC).replace(tzinfo=None))
    return stamp
