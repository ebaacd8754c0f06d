"""What holds announcements back: silences, and quiet hours of a local clock. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.calendar import local_date, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import date
    from zoneinfo import ZoneInfo

MINUTES_OF_DAY = 24 * 60


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of the local day, past midnight where it ends no later than it starts.

    `weekdays` are those on which it starts, Monday being 1; none means every day.
    """

    start_minute: int
    end_minute: int
    weekdays: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Silence:
    """A time in which some alerts say nothing: those named and having the labels; all where neither is."""

    start: int
    end: int
    alert_ids: frozenset[str]
    labels: "Mapping[str, str]"

    def covers(self, alert_id: str, labels: "Mapping[str, str]") -> bool:
        """Return whether this silence is about an alert."""
        named = not self.alert_ids or alert_id in self.alert_ids
        return named and all(labels.get(name) == value for name, value in self.labels.items())


def quiet_until(now: int, periods: "Iterable[QuietHours]", zone: "ZoneInfo") -> int | None:
    """Return when the quiet hours end that are now, None where none are."""
    today = local_date(now, zone)
    ends = [
        bounds[1]
        for period in periods
        for day in (today - timedelta(days=1), today)
        if (bounds := _bounds(period, day, zone)) and bounds[0] <= now < bounds[1]
    ]
    return max(ends, default=None)


def silenced_until(
    now: int, silences: "Iterable[Silence]", alert_id: str, labels: "Mapping[str, str]"
) -> int | None:
    """Return when the last of the silences ends that are now about an alert, None where none are."""
    ends = [
        silence.end
        for silence in silences
        if silence.start <= now < silence.end and silence.covers(alert_id, labels)
    ]
    return max(ends, default=None)


def _bounds(period: QuietHours, day: "date", zone: "ZoneInfo") -> tuple[int, int] | None:
    if period.weekdays and day.isoweekday() not in period.weekdays:
        return None
    ends_on = day if period.end_minute > period.start_minute else day + timedelta(days=1)
    return _instant(day, period.start_minute, zone), _instant(ends_on, period.end_minute, zone)


def _instant(day: "date", minute: int, zone: "ZoneInfo") -> int:
    """Return when a local clock shows a minute of a day; for a skipped one, an hour later."""
    wall = datetime(day.year, day.month, day.day, tzinfo=zone) + timedelta(minutes=minute)
    return to_micros(wall.astimezone(UTC))
