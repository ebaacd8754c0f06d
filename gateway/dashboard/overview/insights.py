"""Sentences about unusual days, events that moved and targets, each with the numbers that prove it."""

from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from gateway.dashboard.overview import daily, targets
from gateway.dashboard.page import formats
from gateway.dashboard.page.frame import PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.forecasting.v1.anomalies_pb2 import JudgedPoint

    from gateway.dashboard.overview.cards import Read
    from gateway.dashboard.overview.daily import DayValue
    from gateway.dashboard.overview.movers import Mover
    from gateway.dashboard.overview.targets import Outlook, Target
    from gateway.dashboard.overview.unusual_days import UnusualDays
    from gateway.dashboard.page.scope import Scope

MOST = 5
# Eight equal weekdays and the one in question: if nothing changed, it is the highest or the lowest of the
# nine by chance two times in nine, the reason why the sentence gives the numbers and no verdict.
WEEKS = 8

_TITLES = {
    "dau": "Daily active users",
    "engagement_score": "Engagement score",
    "revenue": "Revenue",
}
_SUM_TITLES = {"revenue": "Revenue", "sessions": "Sessions", "new_users": "New users"}


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
    """A sentence, and where its numbers are shown."""

    text: str
    address: str
    # By what part it is apart from what it is set beside: the largest first.
    distance_ratio: float


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


def insights(
    found: "Read",
    moved: "Sequence[Mover]",
    shown: "Scope",
    currency: str,
    unusual: "UnusualDays",
    outlooks: "Sequence[Outlook]",
) -> tuple[Insight, ...]:
    """Return at most five sentences, the largest deviation first.

    A last whole day that was judged out of the ordinary is told so, not set beside its weekdays.
    """
    latest = {name: point for name in _TITLES if (point := _latest(found, unusual, name)) is not None}
    extremes = [
        (name, one)
        for name in _TITLES
        if name not in latest and (one := extreme(found.days.get(name, ()))) is not None
    ]
    every = [_of_anomaly(name, day, found, shown, currency) for name, day in latest.items()]
    every += [_of_day(name, one, found, shown, currency) for name, one in extremes]
    every += [_of_event(one, shown) for one in moved]
    every += [_of_target(one, shown, currency) for one in outlooks]
    return tuple(sorted(every, key=lambda one: -one.distance_ratio)[:MOST])


def _latest(found: "Read", unusual: "UnusualDays", name: str) -> "tuple[date, JudgedPoint] | None":
    """Return the last whole day of a metric where it was out of the ordinary."""
    closed = [one.day for one in found.days.get(name, ()) if one.complete]
    point = unusual.of(name).get(closed[-1]) if closed else None
    return None if point is None else (closed[-1], point)


def _of_anomaly(
    name: str, judged: "tuple[date, JudgedPoint]", found: "Read", shown: "Scope", currency: str
) -> Insight:
    day, point = judged
    unit = found.descriptors[name].unit if name in found.descriptors else ""
    value, lower, upper = (
        formats.quantity(number, unit, currency) for number in (point.value, point.lower, point.upper)
    )
    text = (
        f"{_TITLES[name]} on {formats.day(day)}: {value}, where {lower} to {upper} would be ordinary "
        f"({abs(point.score):.1f} deviations)."
    )
    query = urlencode(shown.parameters() | {"metric": name})
    away = abs(point.value - point.expected)
    distance = away / abs(point.expected) if point.expected else float("inf")
    return Insight(text, f"{PREFIX}/predictions?{query}", distance)


def _of_day(name: str, one: Extreme, found: "Read", shown: "Scope", currency: str) -> Insight:
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
    return Insight(text, f"?{query}", one.distance_ratio)


def _of_event(one: "Mover", shown: "Scope") -> Insight:
    before = formats.span(one.first - one.shift, one.last - one.shift)
    earlier = formats.whole(one.earlier)
    if not one.earlier:
        compared = f"not once from {before}"
    elif not one.events:
        compared = f"but {earlier} from {before}"
    else:
        side = "more" if one.change_ratio > 0 else "fewer"
        change = formats.percent(abs(one.change_ratio))
        compared = f"{change} {side} than from {before} ({earlier})"
    text = f"{one.event}: {formats.whole(one.events)} from {formats.span(one.first, one.last)}, {compared}."
    query = urlencode(shown.parameters(compare="1") | {"event": one.event})
    return Insight(text, f"{PREFIX}/events?{query}", abs(one.change_ratio))


def _of_target(one: "Outlook", shown: "Scope", currency: str) -> Insight:
    target = one.target
    so_far, expected, lower, upper, wanted = (
        formats.quantity(number, one.unit, currency)
        for number in (one.so_far, one.expected, one.lower, one.upper, target.value)
    )
    side = "above" if one.expected > target.value else "below"
    apart = f"{formats.percent(one.distance_ratio)} " if target.value else ""
    compared = "as its target" if one.expected == target.value else f"{apart}{side} its target of {wanted}"
    text = (
        f"{_sum_title(target)} in {_span_title(target)}: {so_far} so far, {expected} expected "
        f"({100 * targets.LEVEL:.0f} %: {lower} to {upper}), {compared}."
    )
    choice = {"metric": target.metric} | ({"event": target.event} if target.event else {})
    query = urlencode(shown.parameters() | choice)
    return Insight(text, f"{PREFIX}/predictions?{query}", one.distance_ratio)


def _sum_title(target: "Target") -> str:
    if not target.event:
        return _SUM_TITLES[target.metric]
    return f"Value of {target.event}" if target.metric == "event_value" else target.event


def _span_title(target: "Target") -> str:
    is_month = (
        target.first.day == 1 and target.last.month == target.first.month and target.last.day > daily.WEEK
    )
    return f"{target.first:%B %Y}" if is_month else f"the week of {formats.day(target.first)}"
