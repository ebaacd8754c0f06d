"""Metrics broken down by a property: how each is read from cells. What is not here cannot be broken down."""

from collections.abc import Callable

from pyroaring import BitMap

from services.events.domain import VALUE_SCALE, Population, Selection
from services.events.reading.active import TrailingDays
from services.events.reading.by_property import BreakDown, PropertyCells
from services.events.reading.cells import Cell, Cells, count
from services.events.reading.metrics import Point, Series
from shared.calendar import Interval

# Points of each value (JSON text; None: events without the property), in the order of the break-down.
Groups = dict[str | None, list[Point]]
GroupReader = Callable[[PropertyCells, Series, BreakDown], Groups]


def _of_intervals(point: Callable[[Cell], Point], selection: Callable[[Series], Selection]) -> GroupReader:
    """Read metrics whose point follows from the cell of its interval."""

    def read(store: PropertyCells, series: Series, break_down: BreakDown) -> Groups:
        values = store.read(break_down, series.intervals, selection(series))
        return {value: _points(point, cells, len(series.intervals)) for value, cells in values.items()}

    return read


def _points(point: Callable[[Cell], Point], cells: Cells, number: int) -> list[Point]:
    return [point(cell) for cell in cells.merged(number)]


def _active(days: int, calendar_interval: Interval) -> GroupReader:
    """People of the trailing days, or of a calendar interval."""
    of_intervals = _of_intervals(_people, _any_event)

    def read(store: PropertyCells, series: Series, break_down: BreakDown) -> Groups:
        if series.interval is calendar_interval:
            return of_intervals(store, series, break_down)
        trailing = TrailingDays.of(series.intervals, days, series.zone)
        values = store.read(break_down, trailing.days, _any_event(series))
        return {value: _trailing(trailing, cells) for value, cells in values.items()}

    return read


def _trailing(trailing: TrailingDays, cells: Cells) -> list[Point]:
    unions = trailing.unions(cell.users or BitMap() for cell in cells.merged(len(trailing.days)))
    numbers = [count(users, Population.PEOPLE) for users in unions]
    return [Point(float(number), number) for number in numbers]


def _any_event(series: Series) -> Selection:
    return Selection(conditions=series.conditions)


def _one_event(series: Series) -> Selection:
    return Selection(events=(series.labels["event"],), conditions=series.conditions)


def _revenue(series: Series) -> Selection:
    return Selection(categories=("revenue",), conditions=series.conditions)


def _people(cell: Cell) -> Point:
    number = cell.count(Population.PEOPLE)
    return Point(float(number), number)


def _value(cell: Cell) -> Point:
    return Point(cell.value_sum / VALUE_SCALE, cell.events)


def _events(cell: Cell) -> Point:
    return Point(float(cell.events), cell.events)


def _event_users(cell: Cell) -> Point:
    return Point(float(cell.count(Population.PEOPLE)), cell.events)


GROUPED: dict[str, GroupReader] = {
    "dau": _of_intervals(_people, _any_event),
    "wau": _active(7, Interval.WEEK),
    "mau": _active(30, Interval.MONTH),
    "event_count": _of_intervals(_events, _one_event),
    "event_users": _of_intervals(_event_users, _one_event),
    "event_value": _of_intervals(_value, _one_event),
    "revenue": _of_intervals(_value, _revenue),
}
