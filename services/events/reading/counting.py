"""Counts by event and category, from cells."""

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.events.reading.cells import Cell, Cells

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from services.events.domain import Name, Population


@dataclass(frozen=True, slots=True)
class Count:
    """Events, different people, and the sum of the values in millionths."""

    events: int
    users: int
    value_sum: int


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """A group (None: no break-down, or events without the property) and its counts, a bucket each."""

    group: str | None
    counts: tuple[Count, ...]

    @property
    def events(self) -> int:
        """Events of the whole group."""
        return sum(count.events for count in self.counts)


# Events without a property stand behind every JSON text, in orders and in SQL.
ABSENT = "~"


@dataclass(frozen=True, slots=True)
class GroupPage:
    """Which groups: at most `limit`, behind the one with this total and key."""

    limit: int
    after: tuple[int, str] | None = None


def sort_key(group: str | None) -> str:
    """Return the sort key of a group; events without the property sort behind every JSON text."""
    return ABSENT if group is None else group


EMPTY = Count(0, 0, 0)


def by_group(
    cells: Cells, bucket_count: int, population: "Population", group_of: "Callable[[Name], str]"
) -> list[GroupCounts]:
    """Return the groups by falling number of events, then by name, each with all its buckets."""
    merged: defaultdict[str, list[Cell]] = defaultdict(lambda: [Cell() for _ in range(bucket_count)])
    for (event_key, bucket), cell in cells.cells.items():
        group = merged[group_of(cells.names[event_key])]
        group[bucket].add(cell.events, cell.value_sum, cell.users, cell.stored)
    groups = [GroupCounts(name, counts(cells_, population)) for name, cells_ in merged.items()]
    return sorted(groups, key=lambda group: (-group.events, group.group or ""))


def counts(cells: "Sequence[Cell]", population: "Population") -> tuple[Count, ...]:
    """Return the counts of cells."""
    return tuple(Count(cell.events, cell.count(population), cell.value_sum) for cell in cells)
