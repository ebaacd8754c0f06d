"""What revision each chunk has now, from the roll-ups of hours and the deltas that wait to be folded."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from services.events.rollups.deltas import Groups

# An event's name and a UTC day since 1970-01-01.
ChunkName = tuple[str, int]

_NAMES = """
SELECT 3, event, event_key, NULL::numeric, NULL::int8, NULL::bytea {nulls}
FROM event_types WHERE event = ANY(%(events)s::text[])
"""

_PENDING = """
SELECT 1, '', 0, NULL::numeric, NULL::int8, payload {nulls} FROM event_deltas
WHERE first_hour < %(last_day)s * 24 AND last_hour >= %(first_day)s * 24
"""

_REVISIONS = """
SELECT 0, event, hour / 24 AS day, sum(revision), sum(events)::int8, NULL::bytea {nulls}
FROM event_types JOIN event_hours USING (event_key)
WHERE event = ANY(%(events)s::text[]) AND hour >= %(first_day)s * 24 AND hour < %(last_day)s * 24
GROUP BY event, day
"""

# Parts of one statement, for one snapshot: their rows begin with a kind of their own. `nulls` are columns
# that other parts have more.
STATEMENTS = (_NAMES, _REVISIONS, _PENDING)

_BASE, _DELTA, _NAME = 0, 1, 3


def revisions(rows: list[tuple[Any, ...]], days: tuple[int, int]) -> dict[ChunkName, tuple[int, int]]:
    """Return revision and number of rows of each chunk that has any: the base plus every delta.

    `rows` are those of STATEMENTS, perhaps others beside them; `days` are UTC days, the last one excluded.
    """
    names = {row[2]: row[1] for row in rows if row[0] == _NAME}
    sums: dict[ChunkName, list[int]] = defaultdict(lambda: [0, 0])
    for kind, event, day, revision, count, payload, *_ in rows:
        if kind == _BASE:
            sums[event, day][0] += int(revision)
            sums[event, day][1] += count
        elif kind == _DELTA:
            for event_key, group_day, share, events in _delta_rows(Groups.unpack(payload), list(names), days):
                sums[names[event_key], group_day][0] += share
                sums[names[event_key], group_day][1] += events
    return {name: (revision % 2**64, count) for name, (revision, count) in sums.items() if count}


def _delta_rows(
    groups: Groups, event_keys: list[int], days: tuple[int, int]
) -> Iterator[tuple[int, int, int, int]]:
    """Yield event key, UTC day, share of the revision and events of the groups that a scan is about."""
    group_days = groups.hours // 24
    wanted = np.isin(groups.event_keys, event_keys) & (group_days >= days[0]) & (group_days < days[1])
    columns = (groups.event_keys, group_days, groups.revisions, groups.events)
    return zip(*(column[wanted].tolist() for column in columns), strict=True)
