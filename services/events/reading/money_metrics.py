"""The metrics of money: per order, per person, per lifetime, and what recurs every month."""

from fractions import Fraction
from typing import TYPE_CHECKING

from pyroaring import BitMap

from services.events.domain import VALUE_SCALE, Population, Selection
from services.events.reading.cells import Cell, count
from services.events.reading.metrics import ALL_INTERVALS, Metric, Point, Series
from services.events.reading.money import order_counts, payments
from services.events.reading.orders import count_orders
from services.events.reading.recurring import recurring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.events.reading.store import CellStore

# Before any event.
_BEGINNING = 0


def _revenue(store: "CellStore", buckets: "Sequence[tuple[int, int]]", series: Series) -> list[int]:
    selection = Selection(categories=("revenue",), conditions=series.conditions)
    cells = store.read(buckets, selection, users=False)
    return [cell.value_sum for cell in cells.merged(len(buckets))]


def _cells(store: "CellStore", buckets: "Sequence[tuple[int, int]]", series: Series) -> list[Cell]:
    return store.read(buckets, Selection(conditions=series.conditions)).merged(len(buckets))


def _per(value_sum: int, number: int) -> Point:
    """Return an amount in millionths for each of a number."""
    return Point(float(Fraction(value_sum, number * VALUE_SCALE)) if number else None, number)


def _aov(store: "CellStore", series: Series) -> list[Point]:
    if series.conditions:
        orders = order_counts(store.engine, series.intervals, series.conditions)
    else:
        orders = count_orders(store.engine, series.intervals)
    return list(map(_per, _revenue(store, series.intervals, series), orders))


def _arpu(store: "CellStore", series: Series) -> list[Point]:
    people = [cell.count(Population.PEOPLE) for cell in _cells(store, series.intervals, series)]
    return list(map(_per, _revenue(store, series.intervals, series), people))


def _ltv(store: "CellStore", series: Series) -> list[Point]:
    start = series.intervals[0][0]
    before = ((_BEGINNING, start),) if start > _BEGINNING else ()
    buckets = (*before, *series.intervals)
    revenue, ever = 0, BitMap()
    points = []
    cells = store.read(buckets, Selection(conditions=series.conditions), sets=True).merged(len(buckets))
    for cell, amount in zip(cells, _revenue(store, buckets, series), strict=True):
        ever |= cell.users or BitMap()
        revenue += amount
        points.append(_per(revenue, count(ever, Population.PEOPLE)))
    return points[len(before) :]


def _mrr(store: "CellStore", series: Series) -> list[Point]:
    ends = [end for _, end in series.intervals]
    found = payments(store.engine, (ends[0], ends[-1]), series.conditions)
    return [Point(each.monthly, each.subscriptions) for each in recurring(found, ends, series.zone)]


METRICS = (
    Metric(
        "aov",
        "Average order value: revenue ÷ different order ids (the property order_id of events in category"
        " revenue, the session id where it is absent).",
        "currency",
        ALL_INTERVALS,
        _aov,
        absent_reason="no order in the interval",
    ),
    Metric(
        "arpu",
        "Revenue ÷ people active in the interval. With filters, of the matching events alone.",
        "currency",
        ALL_INTERVALS,
        _arpu,
        absent_reason="nobody was active in the interval",
    ),
    Metric(
        "ltv",
        "Observed lifetime value: all revenue up to the end of the interval ÷ all people active up to then.",
        "currency",
        ALL_INTERVALS,
        _ltv,
        absent_reason="nobody has been active yet",
    ),
    Metric(
        "mrr",
        "Monthly recurring revenue at the end of the interval: the sum over (who, subscription_id) of the"
        " latest unexpired payment. A payment is an event in category revenue with a value that is not"
        " negative and the property billing_interval (day, week, month or year), which says when it expires;"
        " a month is a twelfth of 365 days, of 52 weeks, of a year.",
        "currency",
        ALL_INTERVALS,
        _mrr,
        absent_reason="no subscription was paid for",
    ),
)
