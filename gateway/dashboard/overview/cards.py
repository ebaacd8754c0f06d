"""The cards: a number each, how it changed, its days as a line, and how it is defined."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import grpc
from brain.common.v1 import common_pb2
from brain.metrics.v1 import metrics_pb2

from gateway.dashboard.overview import daily
from gateway.dashboard.overview.daily import Compared, DayValue
from gateway.dashboard.overview.unusual_days import UnusualDays
from gateway.dashboard.page import charts, formats, scope
from gateway.dashboard.page.answers import Failure

if TYPE_CHECKING:
    from datetime import date

    from gateway.dashboard.page.scope import Scope

# A line of fewer days shows no shape.
LEAST_SPARK_DAYS: Final = 14
# What the insights look back on.
_HISTORY_DAYS: Final = 9 * daily.WEEK
_NOT_FOUND: Final = grpc.StatusCode.NOT_FOUND.value[0]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a card shows. A card whose metric the service does not have is left out."""

    title: str
    metric: str
    compare: Callable[[Sequence[DayValue], "date"], Compared]
    beneath_title: str = ""
    beneath_metric: str = ""


PLANS: Final = (
    Plan("Daily active users", "dau", daily.compared_level, "MAU", "mau"),
    Plan("Engagement score", "engagement_score", daily.compared_level),
    Plan("Revenue", "revenue", daily.compared_sum, "MRR", "mrr"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number to read, and all of it to hover."""

    text: str
    exact: str


@dataclass(frozen=True, slots=True)
class Change:
    """How a number moved: "up", "down" or "flat", by how much, against what."""

    direction: str
    text: str
    against: str


@dataclass(frozen=True, slots=True)
class Card:
    """What a card's template shows."""

    title: str
    definition: str
    figure: Figure
    note: str
    change: Change | None
    # Why there is no change, where there is none.
    unchanged: str
    spark: charts.Line | None
    description: str
    beneath: "Beneath | None"
    trouble: str = ""
    # Days of the spark line that were out of the ordinary.
    marks: tuple[charts.Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Beneath:
    """A second, smaller number."""

    title: str
    definition: str
    figure: Figure


@dataclass(frozen=True, slots=True)
class Read:
    """What the services said of the cards' metrics."""

    descriptors: Mapping[str, metrics_pb2.MetricDescriptor]
    days: Mapping[str, tuple[DayValue, ...]]
    failures: Mapping[str, Failure] = field(default_factory=dict)


def asked_metrics() -> tuple[str, ...]:
    """Return the names of all metrics that cards show."""
    names = [name for plan in PLANS for name in (plan.metric, plan.beneath_metric) if name]
    return tuple(names)


def request(shown: "Scope") -> metrics_pb2.ReadMetricsRequest:
    """Return the question for all series, from as long ago as the comparisons and insights need."""
    back = max(shown.days + daily.WEEK, _HISTORY_DAYS)
    time_range = scope.days_range(shown.first - timedelta(days=back), shown.last, shown.zone)
    return metrics_pb2.ReadMetricsRequest(
        queries=[
            metrics_pb2.MetricQuery(
                name=name,
                interval=common_pb2.INTERVAL_DAY,
                time_range=time_range,
                time_zone=shown.zone.key,
            )
            for name in asked_metrics()
        ]
    )


def read(
    listed: metrics_pb2.ListMetricsResponse, answered: metrics_pb2.ReadMetricsResponse, shown: "Scope"
) -> Read:
    """Sort the answers by metric; those the service does not have are left out."""
    days: dict[str, tuple[DayValue, ...]] = {}
    failures: dict[str, Failure] = {}
    for name, result in zip(asked_metrics(), answered.results, strict=True):
        if result.HasField("series"):
            days[name] = daily.days_of(result.series, shown.zone)
        elif result.error.code != _NOT_FOUND:
            failures[name] = Failure(f"The events service answered: {result.error.message}.")
    return Read({metric.name: metric for metric in listed.metrics}, days, failures)


def cards(found: Read, shown: "Scope", currency: str, unusual: UnusualDays) -> tuple[Card, ...]:
    """Return the cards in the order of their plans."""
    return tuple(
        _marked(_card(plan, found, shown, currency), plan, found, shown, unusual)
        if plan.metric in found.days
        else failed(plan.title, found.failures[plan.metric])
        for plan in PLANS
        if plan.metric in found.days or plan.metric in found.failures
    )


def card(
    title: str,
    definition: str,
    unit: str,
    compared: Compared,
    days: Sequence[DayValue],
    currency: str = "",
) -> Card:
    """Return a card of a value that was compared, its days as a line."""
    change = _change(compared)
    return Card(
        title=title,
        definition=definition,
        figure=_figure(compared.value, unit, currency),
        note=compared.note,
        change=change,
        unchanged="" if change else _why_no_change(compared),
        spark=_spark(title, days),
        description=f"{title}, {formats.day(days[0].day)} to {formats.day(days[-1].day)}" if days else "",
        beneath=None,
    )


def failed(title: str, failure: Failure) -> Card:
    """Return a card that says why it has no number."""
    return Card(
        title=title,
        definition="",
        figure=Figure(formats.NOTHING, ""),
        note="",
        change=None,
        unchanged="",
        spark=None,
        description="",
        beneath=None,
        trouble=failure.text,
    )


def _card(plan: Plan, found: Read, shown: "Scope", currency: str) -> Card:
    descriptor = found.descriptors.get(plan.metric) or metrics_pb2.MetricDescriptor()
    days = found.days[plan.metric]
    compared = plan.compare(days, shown.first)
    spark = _spark_days(found, plan, shown)
    made = card(plan.title, descriptor.definition, descriptor.unit, compared, spark, currency)
    return replace(made, beneath=_beneath(plan, found, shown, currency))


def _marked(card: Card, plan: Plan, found: Read, shown: "Scope", unusual: UnusualDays) -> Card:
    """Return the card with a dot on each day of its line that was out of the ordinary."""
    days, named = _spark_days(found, plan, shown), unusual.of(plan.metric)
    marks = tuple(
        charts.mark(
            index, len(days), each.value, _axis(days), f"{formats.day(each.day)}: out of the ordinary"
        )
        for index, each in enumerate(days)
        if each.day in named and each.value is not None
    )
    if not marks:
        return card
    names = "; ".join(each.text for each in marks)
    return replace(card, marks=marks, description=f"{card.description}; {names}")


def _beneath(plan: Plan, found: Read, shown: "Scope", currency: str) -> Beneath | None:
    days = found.days.get(plan.beneath_metric)
    if days is None:
        return None
    descriptor = found.descriptors.get(plan.beneath_metric) or metrics_pb2.MetricDescriptor()
    value = daily.compared_level(days, shown.first).value
    return Beneath(plan.beneath_title, descriptor.definition, _figure(value, descriptor.unit, currency))


def _figure(value: float | None, unit: str, currency: str) -> Figure:
    if value is None:
        return Figure(formats.NOTHING, "not defined for these days")
    return Figure(formats.quantity(value, unit, currency), formats.exact(value, unit, currency))


def _change(compared: Compared) -> Change | None:
    ratio = compared.change_ratio
    if ratio is None:
        return None
    direction = "up" if ratio > 0 else "down" if ratio < 0 else "flat"
    return Change(direction, formats.signed_percent(ratio), f"against {compared.earlier_note}")


def _why_no_change(compared: Compared) -> str:
    if not compared.earlier_note:
        return "compared once the day is over"
    if compared.earlier == 0:
        return f"was 0 on {compared.earlier_note}"
    return f"nothing to compare on {compared.earlier_note}"


def _spark_days(found: Read, plan: Plan, shown: "Scope") -> Sequence[DayValue]:
    return found.days[plan.metric][-max(shown.days, LEAST_SPARK_DAYS) :]


def _spark(title: str, days: Sequence[DayValue]) -> charts.Line | None:
    values = tuple(day.value for day in days)
    if all(value is None for value in values):
        return None
    complete = sum(day.complete for day in days)
    return charts.line(charts.Series(title, values, complete), 0, *_axis(days))


def _axis(days: Sequence[DayValue]) -> tuple[float, float]:
    known = [day.value for day in days if day.value is not None]
    bottom, top = min([0.0, *known]), max([0.0, *known])
    return bottom, top if top > bottom else bottom + 1
