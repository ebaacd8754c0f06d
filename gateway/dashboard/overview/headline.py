"""What stands above every tab: the cards and the insights, asked for at once."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.metrics.v1 import metrics_pb2

from gateway.dashboard.overview import cards, goal_card, insights, movers, targets, unusual_days
from gateway.dashboard.page.answers import Failure

if TYPE_CHECKING:
    from gateway.dashboard.page.visits import Visit


@dataclass(frozen=True, slots=True)
class Headline:
    """What stands above every tab."""

    cards: tuple[cards.Card, ...]
    insights: tuple[insights.Insight, ...]
    goal: goal_card.GoalCard | None = None
    trouble: str = ""
    # Why days out of the ordinary are not marked.
    unmarked: str = ""


async def read(visit: "Visit") -> Headline:
    """Read the cards and insights of the visited days."""
    listed, answered, goal, moved, unusual, outlooks = await asyncio.gather(
        visit.questions.metrics(metrics_pb2.ListMetricsRequest(page_size=1_000)),
        visit.questions.series(cards.request(visit.scope)),
        goal_card.read(visit),
        _moved(visit),
        unusual_days.read(visit, [plan.metric for plan in cards.PLANS], cards.LEAST_SPARK_DAYS),
        targets.read(visit),
    )
    if isinstance(listed, Failure):
        return Headline((), (), trouble=listed.text)
    if isinstance(answered, Failure):
        return Headline((), (), trouble=answered.text)
    found = cards.read(listed, answered, visit.scope)
    currency = visit.surroundings.currency
    return Headline(
        cards.cards(found, visit.scope, currency, unusual),
        insights.insights(found, moved, visit.scope, currency, unusual, outlooks),
        goal,
        unmarked=unusual.trouble,
    )


async def _moved(visit: "Visit") -> tuple[movers.Mover, ...]:
    asked = movers.request(visit.scope)
    counted = Failure("") if asked is None else await visit.questions.count(asked)
    return () if isinstance(counted, Failure) else movers.movers(counted, visit.scope)
