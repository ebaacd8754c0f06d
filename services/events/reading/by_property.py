"""Cells for each value of a property: what counts, metrics and whoever else breaks numbers down reads."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyroaring import BitMap

from services.events.domain import Population, Selection
from services.events.reading import conditions
from services.events.reading.cells import Cell, Cells, count, raw_users
from services.events.reading.counting import ABSENT, GroupCounts, GroupPage, counts, sort_key
from services.events.reading.value_cells import ValueCells, Values, together
from services.events.rollups.fold import ANY_EVENT
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.events.rollups.cover import ReportingCalendar

# The values of the page are found first, so that sets of people are sent for them alone.
_RAW = """
WITH selected AS (
    SELECT event_key, event, category FROM event_types
    WHERE (%(events)s::text[] IS NULL OR event = ANY(%(events)s::text[]))
      AND (%(categories)s::text[] IS NULL OR category = ANY(%(categories)s::text[]))
), matching AS MATERIALIZED (
    SELECT coalesce({property}, '~') AS value_text, event_key,
           width_bucket(event_time, %(bounds)s::timestamptz[]) - 1 AS bucket, user_key, value
    FROM selected JOIN events USING (event_key)
    WHERE event_time >= %(start_time)s AND event_time < %(end_time)s {conditions}
), ranked AS (
    SELECT value_text, {total} AS total FROM matching GROUP BY value_text
), page AS (
    SELECT value_text, total FROM ranked
    WHERE %(after_total)s::int8 IS NULL OR total < %(after_total)s::int8
       OR (total = %(after_total)s::int8 AND value_text COLLATE "C" > %(after_key)s::text COLLATE "C")
    ORDER BY total DESC, value_text COLLATE "C" LIMIT %(limit)s
)
SELECT value_text, event_key, event, category, bucket, count(*), sum(value),
       string_agg(DISTINCT int4send(user_key), '')
FROM page JOIN matching USING (value_text) JOIN selected USING (event_key)
GROUP BY total, value_text, event_key, event, category, bucket
ORDER BY total DESC, value_text COLLATE "C"
"""

_TOTALS = {
    None: "count(*)",
    Population.KNOWN: "count(DISTINCT user_key) FILTER (WHERE user_key < 536870912)",
    Population.PEOPLE: "count(DISTINCT user_key) FILTER (WHERE user_key < 1073741824)",
    Population.ACTORS: "count(DISTINCT user_key)",
}


@dataclass(frozen=True, slots=True)
class BreakDown:
    """By which property, and which of its values, by falling total over all buckets, then by JSON text.

    The total is the number of events, or of different people of a population where one is given.
    """

    path: tuple[str, ...]
    page: GroupPage
    ranked_by: Population | None = None


class PropertyCells:
    """Reads cells by the value of a property. Every cell says who they are.

    From roll-ups where the property is registered, from raw events otherwise; the numbers are the same.
    """

    def __init__(self, engine: "Engine", calendar: "ReportingCalendar") -> None:
        self._engine = engine
        self._rollups = ValueCells(engine, calendar)

    def read(
        self,
        break_down: BreakDown,
        buckets: Sequence[tuple[int, int]],
        selection: Selection,
        *,
        by_type: bool = False,
    ) -> Values:
        """Return the cells of each value (JSON text; None: events without the property), in their order.

        Args:
            break_down: the property, and which of its values.
            buckets: [start, end) in Unix µs, in order and without gaps.
            selection: which events count.
            by_type: a cell for each event type rather than one for all of them.

        """
        if not buckets:
            return {}
        values = self.served(break_down, buckets, selection)
        if values is None:
            return self._raw(break_down, buckets, selection, by_type=by_type)
        return {value: together([cells], any_event=not by_type) for value, cells in values.items()}

    def served(
        self, break_down: BreakDown, buckets: Sequence[tuple[int, int]], selection: Selection
    ) -> Values | None:
        """Return what read() returns by type, or None where only raw events can answer."""
        if break_down.ranked_by is None:
            return self._by_events(break_down, buckets, selection)
        values = self._rollups.read(break_down.path, buckets, selection)
        if values is None:
            return None
        totals = {value: different_people(cells, break_down.ranked_by) for value, cells in values.items()}
        return {value: values[value] for value in _ranked(totals, break_down.page)}

    def _by_events(
        self, break_down: BreakDown, buckets: Sequence[tuple[int, int]], selection: Selection
    ) -> Values | None:
        """Rank by numbers of events first, so that sets of people are read for those of the page alone."""
        whole = [(buckets[0][0], buckets[-1][1])]
        counted = self._rollups.read(break_down.path, whole, selection, users=False)
        if counted is None:
            return None
        totals = {
            value: sum(cell.events for cell in cells.cells.values()) for value, cells in counted.items()
        }
        page = _ranked(totals, break_down.page)
        values = self._rollups.read(break_down.path, buckets, selection, values=page)
        return None if values is None else {value: values[value] for value in page if value in values}

    def _raw(
        self,
        break_down: BreakDown,
        buckets: Sequence[tuple[int, int]],
        selection: Selection,
        *,
        by_type: bool,
    ) -> Values:
        clauses, parameters = conditions.to_sql(selection.conditions)
        after_total, after_key = break_down.page.after or (None, None)
        parameters |= conditions.type_parameters(selection) | {
            "group_path": list(break_down.path),
            "bounds": [to_datetime_utc(start) for start, _ in buckets],
            "start_time": to_datetime_utc(buckets[0][0]),
            "end_time": to_datetime_utc(buckets[-1][1]),
            "after_total": after_total,
            "after_key": after_key,
            "limit": break_down.page.limit,
        }
        statement = _RAW.format(
            property=conditions.property_text_sql("group_path"),
            total=_TOTALS[break_down.ranked_by],
            conditions=clauses,
        )
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(statement.encode(), parameters).fetchall()
        return _gather(rows, by_type=by_type)


def _ranked(totals: dict[str | None, int], page: GroupPage) -> list[str | None]:
    """Return the values of a page, by falling total, then by text."""
    order = sorted((-total, sort_key(value), value) for value, total in totals.items())
    if page.after is not None:
        total, text = page.after
        order = [each for each in order if each[:2] > (-total, text)]
    return [value for _, _, value in order[: page.limit]]


def _gather(rows: Iterable[tuple[Any, ...]], *, by_type: bool) -> Values:
    values: Values = {}
    for text, event_key, event, category, bucket, events, value_sum, users in rows:
        cells = values.setdefault(None if text == ABSENT else text, Cells({}, {}))
        if by_type:
            cells.names[event_key] = (event, category)
        cell = cells.cells.setdefault((event_key if by_type else ANY_EVENT, bucket), Cell())
        cell.add(events, int(value_sum or 0), raw_users(users), (0, 0, 0))
    return values


def different_people(cells: Cells, population: Population) -> int:
    """Count the people of all cells together, each once."""
    return count(BitMap.union(*(cell.users or BitMap() for cell in cells.cells.values())), population)


def group_counts(values: Values, bucket_count: int, population: Population) -> list[GroupCounts]:
    """Return the counts of each value, a bucket each."""
    return [
        GroupCounts(value, counts(cells.merged(bucket_count), population)) for value, cells in values.items()
    ]
