"""Reads cells from the database."""

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg

from services.events.distribution import is_spread
from services.events.reading import conditions, statements
from services.events.reading.cells import Cell, Cells, gather
from services.events.reading.condition_sets import ConditionSets, bounds
from services.events.reading.plan import Plan
from services.events.reading.sharing import Together, Wanted, share
from services.events.reading.value_cells import ValueCells, together
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

    from services.events.domain import Selection
    from services.events.rollups.cover import ReportingCalendar


class CellStore:
    """Answers what happened in buckets of time."""

    def __init__(self, engine: "Engine", calendar: "ReportingCalendar") -> None:
        self.engine = engine
        self.calendar = calendar
        self._values = ValueCells(engine, calendar)
        self._condition_sets = ConditionSets(engine, self._values)

    def read(
        self,
        buckets: "Sequence[tuple[int, int]]",
        selection: "Selection",
        *,
        by_type: bool = False,
        users: bool = True,
        sets: bool = False,
    ) -> Cells:
        """Return the cells of the buckets, which are disjoint and in order.

        Args:
            buckets: [start, end) in Unix µs.
            selection: which events count.
            by_type: a cell for each event type rather than one for all of them.
            users: whether cells must say how many different people there were.
            sets: whether cells must say who they were.

        """
        plan = Plan.of(buckets, self.calendar)
        if not plan.buckets:
            return Cells({}, {})
        any_event = not by_type and selection.events is None and selection.categories is None
        if selection.conditions:
            path = selection.conditions[0].path
            by_value = self._values.read(path, plan.buckets, selection, users=users or sets)
            if by_value is not None:
                return together(by_value.values(), any_event=any_event)
            statement, parameters = _from_raw(plan, selection)
        else:
            spread = is_spread(self.engine)
            statement = statements.from_rollups(plan, users=users, names=not any_event, spread=spread)
            parameters = _slivers(plan) | {
                "sets": sets or not (any_event and plan.is_one_slot_each),
                "total": len(plan.buckets) == 1,
            }
        parameters |= plan.parameters() | conditions.type_parameters(selection) | {"any_event": any_event}
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(statement.encode(), parameters).fetchall()
        return gather(rows, plan, any_event=any_event)

    def read_one(self, wanted: Wanted) -> list[Cell]:
        """Return a cell for each bucket, event types taken together."""
        cells = self.read(wanted.buckets, wanted.selection, users=wanted.users, sets=wanted.sets)
        return cells.merged(len(wanted.buckets))

    def read_each(self, wanted: "Sequence[Wanted]") -> "Iterator[tuple[int, list[Cell]]]":
        """Yield what read_one() returns of each, with its place, in no order: few statements answer many.

        What was to be read together and failed is left out: alone, each may succeed, or tells its own error.
        """
        for group in share(wanted):
            try:
                found = self._read_together(group)
            except (psycopg.Error, ServiceError):
                continue
            for places, cells in zip(group.places, found, strict=True):
                for place in places:
                    yield place, cells

    def _read_together(self, group: Together) -> list[list[Cell]]:
        first = group.wanted[0]
        if len(group.wanted) == 1:
            return [self.read_one(first)]
        users = first.users or first.sets
        if group.differ_in_conditions:
            return self._condition_sets.read(
                first.buckets, first.selection, group.condition_sets, users=users
            )
        selection = replace(first.selection, events=group.events)
        cells = self.read(first.buckets, selection, users=first.users, sets=first.sets)
        return cells.merged_by_events(
            [each.selection.events or () for each in group.wanted], len(first.buckets)
        )


def _from_raw(plan: Plan, selection: "Selection") -> tuple[str, dict[str, object]]:
    clauses, values = conditions.to_sql(selection.conditions)
    return statements.from_raw(clauses), values | bounds(plan.buckets)


def _slivers(plan: Plan) -> dict[str, object]:
    return {
        "raw_starts": [to_datetime_utc(start) for start, _, _ in plan.raw],
        "raw_ends": [to_datetime_utc(end) for _, end, _ in plan.raw],
        "raw_buckets": [bucket for _, _, bucket in plan.raw],
    }
