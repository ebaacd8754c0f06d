"""Counts broken down by event or by category, a page at a time."""

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum

from services.events.domain import Population, Selection
from services.events.reading.counting import GroupCounts, GroupPage, by_group, sort_key
from services.events.reading.store import CellStore


class Dimension(IntEnum):
    """What of an event type names the group."""

    EVENT = 0
    CATEGORY = 1


def count_by_type(
    store: CellStore,
    dimension: Dimension,
    buckets: Sequence[tuple[int, int]],
    selection: Selection,
    scope: tuple[Population, GroupPage],
) -> list[GroupCounts]:
    """Return the groups of a page, by falling number of events, then by name.

    Totals rank the groups first, so that sets of people are read for those of the page alone.
    """
    population, page = scope
    whole = [(buckets[0][0], buckets[-1][1])]
    totals = store.read(whole, selection, by_type=True, users=False)
    ranked = behind(by_group(totals, 1, population, lambda name: name[dimension]), page.after)[: page.limit]
    names = tuple(group.group or "" for group in ranked)
    if dimension is Dimension.EVENT:
        narrowed = replace(selection, events=names)
    else:
        narrowed = replace(selection, categories=names)
    cells = store.read(buckets, narrowed, by_type=True, sets=True)
    return by_group(cells, len(buckets), population, lambda name: name[dimension])


def behind(groups: list[GroupCounts], after: tuple[int, str] | None) -> list[GroupCounts]:
    """Return the groups of the pages after a position."""
    if after is None:
        return groups
    return [group for group in groups if (-group.events, sort_key(group.group)) > (-after[0], after[1])]
