"""Reads the cells of several sets of conditions on the same events at once."""

from typing import TYPE_CHECKING, Any

from services.events.domain import Condition, Selection
from services.events.reading import conditions, statements
from services.events.reading.cells import Cell, raw_users
from services.events.reading.value_cells import ValueCells, together
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Engine


class ConditionSets:
    """Answers what met which conditions in buckets of time."""

    def __init__(self, engine: "Engine", values: ValueCells) -> None:
        self._engine = engine
        self._values = values

    def read(
        self,
        buckets: "Sequence[tuple[int, int]]",
        selection: Selection,
        sets: tuple[tuple[Condition, ...], ...],
        *,
        users: bool,
    ) -> list[list[Cell]]:
        """Return a cell for each bucket, event types taken together, for each set of conditions.

        Args:
            buckets: [start, end) in Unix µs, in order and without gaps.
            selection: which events count; its conditions are left aside.
            sets: at most 63.
            users: whether cells must say who they were.

        """
        paths = {condition.path for set_ in sets for condition in set_}
        if len(paths) == 1:
            found = self._values.read_sets(paths.pop(), buckets, selection, sets, users=users)
            if found is not None:
                return [together(parts, any_event=True).merged(len(buckets)) for parts in found]
        matches, parameters = conditions.matches_sql(sets)
        parameters |= bounds(buckets) | conditions.type_parameters(selection)
        # Names of keys and deltas are in the statement's head, and are not asked for.
        parameters |= {"any_event": False, "first_hour": 0, "last_hour": 0, "users": users}
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(statements.from_raw_sets(matches).encode(), parameters).fetchall()
        return _gather(rows, len(sets), len(buckets))


def bounds(buckets: "Sequence[tuple[int, int]]") -> dict[str, object]:
    """Buckets follow one another without gaps wherever conditions are given, so their starts bound them."""
    return {
        "bounds": [to_datetime_utc(start) for start, _ in buckets],
        "start_time": to_datetime_utc(buckets[0][0]),
        "end_time": to_datetime_utc(buckets[-1][1]),
    }


def _gather(rows: "Iterable[tuple[Any, ...]]", set_count: int, bucket_count: int) -> list[list[Cell]]:
    cells = [[Cell() for _ in range(bucket_count)] for _ in range(set_count)]
    for bucket, events, value_sum, users, matches in rows:
        who = None if users is None else raw_users(users)
        for number in range(set_count):
            if matches >> number & 1:
                cells[number][bucket].add(events, int(value_sum or 0), who, (0, 0, 0))
    return cells
