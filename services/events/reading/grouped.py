"""Counts broken down by who did it or by a property: read from raw events, one statement a page."""

from typing import TYPE_CHECKING, Any

from services.events.domain import Population, Selection
from services.events.reading import conditions
from services.events.reading.conditions import type_parameters
from services.events.reading.counting import ABSENT, EMPTY, Count, GroupCounts, GroupPage
from services.events.rollups.fold import FIRST_ANONYMOUS_KEY, FIRST_SESSION_KEY
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

_BELOW = {
    Population.KNOWN: FIRST_ANONYMOUS_KEY,
    Population.PEOPLE: FIRST_SESSION_KEY,
    Population.ACTORS: 2**31,
}

_STATEMENT = """
WITH matching AS MATERIALIZED (
    SELECT coalesce({group}, '~') AS group_key,
           width_bucket(event_time, %(bounds)s::timestamptz[]) - 1 AS bucket, user_key, value
    FROM event_types JOIN events USING (event_key)
    WHERE (%(events)s::text[] IS NULL OR event = ANY(%(events)s::text[]))
      AND (%(categories)s::text[] IS NULL OR category = ANY(%(categories)s::text[]))
      AND event_time >= %(start_time)s AND event_time < %(end_time)s {conditions}
), page AS (
    SELECT group_key, count(*) AS total FROM matching GROUP BY group_key
    HAVING %(after_total)s::int8 IS NULL OR count(*) < %(after_total)s::int8
        OR (count(*) = %(after_total)s::int8
            AND group_key COLLATE "C" > %(after_key)s::text COLLATE "C")
    ORDER BY total DESC, group_key COLLATE "C" LIMIT %(limit)s
)
SELECT page.group_key, bucket, count(*), count(DISTINCT user_key) FILTER (WHERE user_key < %(below)s),
       coalesce(sum(value), 0), total
FROM page JOIN matching USING (group_key)
GROUP BY page.group_key, total, bucket
ORDER BY total DESC, page.group_key COLLATE "C", bucket
"""


class GroupedCounts:
    """Reads counts by user or by property."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def by_user(
        self,
        buckets: "Sequence[tuple[int, int]]",
        selection: Selection,
        population: Population,
        page: GroupPage,
    ) -> list[GroupCounts]:
        """Return the groups of a page; a group is a user key in decimal."""
        return self._read("user_key::text", {}, buckets, selection, (population, page))

    def by_property(
        self,
        path: tuple[str, ...],
        buckets: "Sequence[tuple[int, int]]",
        selection: Selection,
        population: Population,
        page: GroupPage,
    ) -> list[GroupCounts]:
        """Return the groups of a page; a group is a value as JSON text, or None."""
        group = conditions.property_text_sql("group_path")
        return self._read(group, {"group_path": list(path)}, buckets, selection, (population, page))

    def _read(
        self,
        group: str,
        parameters: dict[str, Any],
        buckets: "Sequence[tuple[int, int]]",
        selection: Selection,
        scope: tuple[Population, GroupPage],
    ) -> list[GroupCounts]:
        population, page = scope
        clauses, values = conditions.to_sql(selection.conditions)
        after_total, after_key = page.after or (None, None)
        parameters |= values | {
            **type_parameters(selection),
            "bounds": [to_datetime_utc(start) for start, _ in buckets],
            "start_time": to_datetime_utc(buckets[0][0]),
            "end_time": to_datetime_utc(buckets[-1][1]),
            "after_total": after_total,
            "after_key": after_key,
            "limit": page.limit,
            "below": _BELOW[population],
        }
        statement = _STATEMENT.format(group=group, conditions=clauses)
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            rows = cursor.execute(statement.encode(), parameters).fetchall()
        return _groups(rows, len(buckets))


def _groups(rows: list[tuple[Any, ...]], bucket_count: int) -> list[GroupCounts]:
    groups: dict[str, list[Count]] = {}
    for key, bucket, events, users, value_sum, _ in rows:
        counts = groups.setdefault(key, [EMPTY] * bucket_count)
        counts[bucket] = Count(events, users, int(value_sum))
    return [GroupCounts(None if key == ABSENT else key, tuple(counts)) for key, counts in groups.items()]
