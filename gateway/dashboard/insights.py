"""Sentences about days that were unlike their weekday, each with the numbers that prove it."""

from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import TYPE_CHECKING

from gateway.dashboard import daily, formats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dashboard.cards import Read
    from gateway.dashboard.daily import DayValue
    from gateway.dashboard.scope import Scope

MOST = 5
# Eight equal weekdays and the one in question: if nothing changed, it is the highest or the lowest of the
# nine by chance two times in nine, the reason why the sentence gives the numbers and no verdict.
WEEKS = 8

_TITLES = {
    "dau": "Daily active users",
    "engagement_score": "Engagement score",
    "revenue": "Revenue",
}


@dataclass(frozen=True, slots=True)
class Extreme:
    """A day above or below all the same weekdays before it."""

    day: date
    value: float
    lowest: float
    highest: float
    # Distance from the median of the weekdays before, in parts of it: what insights are ordered by.
    distance_ratio: float


@dataclass(frozen=True, slots=True)
class Insight:
    """A sentence, and the query of the page that shows it."""

    text: str
    query: str


def extreme(days: "Sequence[DayValue]") -> Extreme | None:
    """Return the last complete day if it is outside the eight same weekdays before it, all of them known."""
    closed = [day for day in days if day.complete]
    if not closed or closed[-1].value is None:
        return None
    latest, value = closed[-1].day, closed[-1].value
    values = {day.day: day.value for day in closed}
    before = [values.get(latest - timedelta(days=daily.WEEK * week)) for week in range(1, WEEKS + 1)]
    known = [one for one in before if one is not None]
    if len(known) < WEEKS or min(known) <= value <= max(known):
        return None
    middle = median(known)
    distance = abs(value - middle) / abs(middle) if middle else float("inf")
    return Extreme(latest, value, min(known), max(known), distance)


def insights(found: "Read", shown: "Scope", currency: str) -> tuple[Insight, ...]:
    """Return at most five sentences, the largest deviation first."""
    extremes = [(name, one) for name in _TITLES if (one := extreme(found.days.get(name, ()))) is not None]
    extremes.sort(key=lambda entry: -entry[1].distance_ratio)
    return tuple(_insight(name, one, found, shown, currency) for name, one in extremes[:MOST])


def _insight(name: str, one: Extreme, found: "Read", shown: "Scope", currency: str) -> Insight:
    unit = found.descriptors[name].unit if name in found.descriptors else ""
    value, lowest, highest = (
        formats.quantity(number, unit, currency) for number in (one.value, one.lowest, one.highest)
    )
    side = "more" if one.value > one.highest else "less"
    text = (
        f"{_TITLES[name]} on {formats.day(one.day)}: {value}, {side} than on each of the {WEEKS} "
        f"{one.day:%A}s before ({lowest} to {highest})."
    )
    first = one.day - timedelta(days=daily.WEEK * WEEKS)
    query = shown.query(**{"range": "custom", "from": first.isoformat(), "to": one.day.isoformat()})
    return Insight(text, query)
