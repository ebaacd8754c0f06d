"""Cells for each value of a property from the roll-ups of registered properties, where these serve."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from services.events.distribution import is_spread
from services.events.reading.cells import Cell, Cells, gather
from services.events.reading.counting import ABSENT
from services.events.reading.plan import Plan
from services.events.reading.statements import Kind
from services.events.reading.value_statements import SERVING, VALUE, from_values
from services.events.rollups.fold import ANY_EVENT
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.events.domain import Condition, Selection
    from services.events.rollups.cover import ReportingCalendar

# The cells of each value: JSON text; None: events without the property.
Values = dict[str | None, Cells]


class ValueCells:
    """Reads the roll-ups of values."""

    def __init__(self, engine: "Engine", calendar: "ReportingCalendar") -> None:
        self._engine = engine
        self._calendar = calendar

    def read(
        self,
        path: tuple[str, ...],
        buckets: Sequence[tuple[int, int]],
        selection: "Selection",
        *,
        values: Sequence[str | None] | None = None,
        users: bool = True,
    ) -> Values | None:
        """Return the cells of each value by event type, or None where raw events must answer.

        That is so where the property is not registered for all events asked for, is still being filled in or
        overfull; where a condition is about another property; where no bucket holds a whole reporting day.

        Args:
            path: the property.
            buckets: [start, end) in Unix µs, disjoint and in order.
            selection: which events count.
            values: those that are wanted; None for all.
            users: whether cells must say who they were.

        """
        if any(each.path != path for each in selection.conditions):
            return None
        found = self._read(path, buckets, selection, (selection.conditions,), values, users=users)
        return None if found is None else found.by_value

    def read_sets(
        self,
        path: tuple[str, ...],
        buckets: Sequence[tuple[int, int]],
        selection: "Selection",
        sets: "tuple[tuple[Condition, ...], ...]",
        *,
        users: bool = True,
    ) -> list[list[Cells]] | None:
        """Return the cells of all values that meet each set of conditions, or None as read() does.

        The conditions are about the property itself, those of the selection are left aside.
        """
        found = self._read(path, buckets, selection, sets, None, users=users)
        if found is None:
            return None
        return [
            [cells for value, cells in found.by_value.items() if found.matches[value] >> number & 1]
            for number in range(len(sets))
        ]

    def _read(
        self,
        path: tuple[str, ...],
        buckets: Sequence[tuple[int, int]],
        selection: "Selection",
        sets: "tuple[tuple[Condition, ...], ...]",
        values: Sequence[str | None] | None,
        *,
        users: bool,
    ) -> "_Found | None":
        plan = Plan.by_days(buckets, self._calendar)
        if plan.days[0] == plan.days[1]:
            return None
        spread = is_spread(self._engine)
        statement, parameters = from_values(plan, selection, sets, users=users, spread=spread)
        parameters |= plan.parameters() | {
            "group_path": list(path),
            "values": None if values is None else [ABSENT if value is None else value for value in values],
            "total": len(plan.buckets) == 1,
            "raw_starts": [to_datetime_utc(start) for start, _, _ in plan.raw],
            "raw_ends": [to_datetime_utc(end) for _, end, _ in plan.raw],
            "raw_buckets": [bucket for _, _, bucket in plan.raw],
        }
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(statement.encode(), parameters).fetchall()
        return _by_value(rows, plan) if any(row[0] == SERVING for row in rows) else None


@dataclass(frozen=True, slots=True)
class _Found:
    """The cells of values, and the bits of the sets of conditions that each value meets."""

    by_value: Values
    matches: dict[str | None, int]


def _by_value(rows: Iterable[tuple[Any, ...]], plan: Plan) -> _Found:
    known: dict[int, tuple[str | None, int]] = {}
    matches: dict[str | None, int] = {}
    others: list[Any] = []
    for row in rows:
        if row[0] == VALUE:
            text, _, name = row[8].partition(b"\0")
            value = None if text == ABSENT.encode() else text.decode()
            known[row[1]], matches[value] = (value, row[2]), row[3]
            others.append((Kind.NAME, *row[1:8], name))
        elif row[0] != SERVING:
            others.append(row)
    cells = gather(others, plan, any_event=False)
    values: Values = {}
    for (value_key, bucket), cell in cells.cells.items():
        if cell.events:
            value, event_key = known[value_key]
            own = values.setdefault(value, Cells({}, {}))
            own.cells[event_key, bucket] = cell
            own.names[event_key] = cells.names[value_key]
    return _Found(values, matches)


def together(parts: Iterable[Cells], *, any_event: bool) -> Cells:
    """Return the sum of cells; with `any_event`, that of all event types under ANY_EVENT."""
    total = Cells({}, {})
    for part in parts:
        if not any_event:
            total.names.update(part.names)
        for (event_key, bucket), cell in part.cells.items():
            sum_ = total.cells.setdefault((ANY_EVENT if any_event else event_key, bucket), Cell())
            sum_.add(cell.events, cell.value_sum, cell.users, cell.stored)
    return total
