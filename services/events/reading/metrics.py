"""The metrics of events: what each means, and how it is read from cells."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from pyroaring import BitMap

from services.events.domain import VALUE_SCALE, Condition, Population, Selection
from services.events.reading.active import TrailingDays
from services.events.reading.cells import Cell, count
from services.events.reading.sharing import Wanted
from shared.calendar import Interval

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from services.events.reading.store import CellStore

ALL_INTERVALS = (Interval.HOUR, Interval.DAY, Interval.WEEK, Interval.MONTH)


@dataclass(frozen=True, slots=True)
class Series:
    """What to read: whole intervals in order ([start, end) in Unix µs), labels, conditions."""

    intervals: tuple[tuple[int, int], ...]
    interval: Interval
    zone: "ZoneInfo"
    labels: Mapping[str, str]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Point:
    """A value, or None where it is not defined, and how many observations it rests on.

    final_time: Unix µs from which only late events change it; None for the end of its interval.
    """

    value: float | None
    sample_size: int
    final_time: int | None = None


Reader = Callable[["CellStore", Series], list[Point]]


@dataclass(frozen=True, slots=True)
class OfCells:
    """Reads points that follow from one list of cells: the cells of many series can be read together.

    wanted: the cells that a series needs; points: its points, given them.
    """

    wanted: Callable[[Series], Wanted]
    points: Callable[[Series, list[Cell]], list[Point]]

    def __call__(self, store: "CellStore", series: Series) -> list[Point]:
        """Read the points of a series alone."""
        return self.points(series, store.read_one(self.wanted(series)))


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric, its definition, and its reader.

    number_labels: the labels that are whole numbers, with the least and the greatest.
    """

    name: str
    definition: str
    unit: str
    intervals: tuple[Interval, ...]
    read: Reader
    required_labels: tuple[str, ...] = ()
    number_labels: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    # Why a value is absent, where one can be.
    absent_reason: str = "there is nothing to count"
    takes_filters: bool = True


def _active(days: int, calendar_interval: Interval | None) -> Reader:
    """People of the trailing days, or of a calendar interval."""

    def is_trailing(series: Series) -> bool:
        return days > 1 and series.interval is not calendar_interval

    def wanted(series: Series) -> Wanted:
        selection = Selection(conditions=series.conditions)
        if not is_trailing(series):
            return Wanted(series.intervals, selection)
        trailing = _trailing(series.intervals, days, series.zone)
        return Wanted(tuple(trailing.days), selection, sets=True)

    def points(series: Series, cells: list[Cell]) -> list[Point]:
        if not is_trailing(series):
            return [_people(cell.count(Population.PEOPLE)) for cell in cells]
        trailing = _trailing(series.intervals, days, series.zone)
        unions = trailing.unions(cell.users or BitMap() for cell in cells)
        return [_people(count(users, Population.PEOPLE)) for users in unions]

    return OfCells(wanted, points)


# Asked for twice for each series, and by all series of a range.
@lru_cache(maxsize=8)
def _trailing(ends: tuple[tuple[int, int], ...], days: int, zone: "ZoneInfo") -> TrailingDays:
    return TrailingDays.of(ends, days, zone)


def _people(number: int) -> Point:
    return Point(float(number), number)


def _of_event(point: Callable[[Cell], Point], *, users: bool) -> Reader:
    def wanted(series: Series) -> Wanted:
        selection = Selection(events=(series.labels["event"],), conditions=series.conditions)
        return Wanted(series.intervals, selection, users=users)

    return OfCells(wanted, _each(point))


def _each(point: Callable[[Cell], Point]) -> Callable[[Series, list[Cell]], list[Point]]:
    return lambda _, cells: [point(cell) for cell in cells]


def _revenue(series: Series) -> Wanted:
    selection = Selection(categories=("revenue",), conditions=series.conditions)
    return Wanted(series.intervals, selection, users=False)


def _value(cell: Cell) -> Point:
    return Point(cell.value_sum / VALUE_SCALE, cell.events)


def by_name(metrics: Iterable[Metric]) -> dict[str, Metric]:
    """Return metrics by their names."""
    return {metric.name: metric for metric in metrics}


METRICS = by_name(
    (
        Metric("dau", "People active on the day.", "people", (Interval.DAY,), _active(1, None)),
        Metric(
            "wau",
            "Daily: people active on the 7 local days ending with the day. Weekly: in the calendar week.",
            "people",
            (Interval.DAY, Interval.WEEK),
            _active(7, Interval.WEEK),
        ),
        Metric(
            "mau",
            "Daily: people active on the 30 local days ending with the day. Monthly: in the calendar month.",
            "people",
            (Interval.DAY, Interval.MONTH),
            _active(30, Interval.MONTH),
        ),
        Metric(
            "event_count",
            "How often the event happened.",
            "events",
            ALL_INTERVALS,
            _of_event(lambda cell: Point(float(cell.events), cell.events), users=False),
            ("event",),
        ),
        Metric(
            "event_users",
            "Different people who did the event.",
            "people",
            ALL_INTERVALS,
            _of_event(lambda cell: Point(float(cell.count(Population.PEOPLE)), cell.events), users=True),
            ("event",),
        ),
        Metric(
            "event_value",
            "Sum of the event's values.",
            "currency",
            ALL_INTERVALS,
            _of_event(_value, users=False),
            ("event",),
        ),
        Metric(
            "revenue",
            "Sum of the values of events in category revenue, negative ones included.",
            "currency",
            ALL_INTERVALS,
            OfCells(_revenue, _each(_value)),
        ),
    )
)
