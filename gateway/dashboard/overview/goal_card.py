"""The card of the conversion rate: of whole days whose every window is over, beside as many days before."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import conversion_pb2 as pb

from gateway.dashboard.overview import cards
from gateway.dashboard.overview.cards import Beneath, Card, Figure
from gateway.dashboard.overview.daily import Compared, DayValue
from gateway.dashboard.page import formats, goals, scope, top
from gateway.dashboard.page.answers import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.events.v1.events_pb2 import GetTopEventsResponse

    from gateway.dashboard.page.answers import Questions
    from gateway.dashboard.page.goals import Goal
    from gateway.dashboard.page.scope import Scope
    from gateway.dashboard.page.visits import Visit

TITLE: Final = "Conversion rate"
# Events among which a goal can be chosen.
_OFFERED: Final = 100
# Conversions are counted from raw events, so that a longer line would have the page wait.
_LONGEST_LINE_DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class GoalCard:
    """The card, and what its goal can be changed to."""

    card: Card
    asked: "Goal"
    events: tuple[str, ...]
    # The view to show again with another goal, and what of its parameters is kept.
    address: str
    kept: Mapping[str, str]
    windows: Mapping[int, str] = field(default_factory=lambda: goals.WINDOWS)


@dataclass(frozen=True, slots=True)
class Days:
    """The days that are counted, those they are compared with if any, and those of the line."""

    counted: tuple[date, date]
    earlier: tuple[date, date] | None
    line: tuple[date, date]


async def read(visit: "Visit") -> GoalCard:
    """Ask for what the card needs and make it."""
    questions, shown = visit.questions, visit.scope
    most = await questions.top(top.request(shown, _OFFERED))
    names = [] if isinstance(most, Failure) else [one.event for one in most.top_events]
    offered = tuple(dict.fromkeys([*filter(None, (shown.goal.start, shown.goal.end)), *names]))
    kept = {name: value for name, value in visit.parameters.items() if not name.startswith("goal_")}
    card = cards.failed(TITLE, most) if isinstance(most, Failure) else await _card(questions, shown, most)
    return GoalCard(card, shown.goal, offered, visit.path, kept)


async def _card(questions: "Questions", shown: "Scope", most: "GetTopEventsResponse") -> Card:
    goal = goals.chosen(shown.goal, most.top_events)
    if goal is None:
        return _without(shown)
    days = days_of(shown)
    answers = await asyncio.gather(*map(questions.conversion, requests(goal, days, shown)))
    failures = [one for one in answers if isinstance(one, Failure)]
    good = [one for one in answers if not isinstance(one, Failure)]
    return cards.failed(TITLE, failures[0]) if failures else made(goal, days, good, shown)


def days_of(shown: "Scope") -> Days:
    """Return the days whose every window is over, and the same ones a range before; without any, all days."""
    length = min(max(shown.days, cards.LEAST_SPARK_DAYS), _LONGEST_LINE_DAYS)
    line = (shown.last - timedelta(days=length - 1), shown.last)
    over = (shown.now - timedelta(minutes=shown.goal.minutes)).astimezone(shown.zone).date()
    last = min(shown.last, over - timedelta(days=1))
    if last < shown.first:
        return Days((shown.first, shown.last), None, line)
    shift = timedelta(days=shown.days)
    return Days((shown.first, last), (shown.first - shift, last - shift), line)


def requests(goal: "Goal", days: Days, shown: "Scope") -> list[pb.GetConversionRateRequest]:
    """Return the questions: for the line, for the days, and for those before."""
    spans = [days.line, days.counted, *([days.earlier] if days.earlier else [])]
    made = [
        pb.GetConversionRateRequest(
            start_event=goal.start,
            end_event=goal.end,
            window_minutes=goal.minutes,
            time_range=scope.days_range(first, last, shown.zone),
            time_zone=shown.zone.key,
        )
        for first, last in spans
    ]
    made[0].interval = common_pb2.INTERVAL_DAY
    return made


def made(goal: "Goal", days: Days, answers: "Sequence[pb.GetConversionRateResponse]", shown: "Scope") -> Card:
    """Return the card of the answers to `requests`."""
    line, counted, *earlier = answers
    rate = counted.total
    compared = Compared(
        _ratio(rate),
        formats.span(*days.counted) if days.earlier else "so far",
        _ratio(earlier[0].total) if earlier else None,
        formats.span(*days.earlier) if days.earlier else "",
    )
    within = goals.WINDOWS[goal.minutes]
    values = [
        DayValue(
            formats.moment(point.start_time).astimezone(shown.zone).date(), _ratio(point.rate), point.complete
        )
        for point in line.points
    ]
    card = cards.card(
        TITLE,
        f"Of those who did {goal.start}, the part that did {goal.end} at most {within} later. Everybody "
        "counts once in the range; days whose last window is not over are left out.",
        "ratio",
        compared,
        values,
    )
    return replace(card, beneath=_people(goal, rate))


def _people(goal: "Goal", rate: pb.ConversionRate) -> Beneath:
    text = f"{formats.whole(rate.converters)} of {formats.whole(rate.starters)}"
    return Beneath(f"{goal.start} → {goal.end}", "", Figure(text, text))


def _ratio(rate: pb.ConversionRate) -> float | None:
    return rate.conversion_ratio if rate.HasField("conversion_ratio") else None


def _without(shown: "Scope") -> Card:
    nothing = Compared(None, formats.span(shown.first, shown.last), None, "")
    card = cards.card(TITLE, "Of those who did one event, the part that did another.", "ratio", nothing, ())
    return replace(card, unchanged="needs two different events on these days")
