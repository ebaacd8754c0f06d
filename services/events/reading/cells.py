"""Cells: what is known of one event type in one bucket, put together from roll-ups, deltas and raw events."""

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from pyroaring import AbstractBitMap, BitMap

from services.events.domain import Population
from services.events.reading.plan import NOWHERE, Plan
from services.events.reading.statements import Kind
from services.events.rollups.deltas import Groups
from services.events.rollups.fold import ANY_EVENT, NOBODY, bitmap, fold, known, people

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal


@dataclass(slots=True)
class Cell:
    """Events, the sum of their values in millionths, and who did them.

    `sets` is empty where the stored counts say it: known, people, actors. Those who left have no events any
    more, whatever the sets say.
    """

    events: int = 0
    value_sum: int = 0
    sets: list[BitMap] = field(default_factory=list)
    stored: tuple[int, int, int] = (0, 0, 0)
    left: AbstractBitMap = NOBODY

    def add(self, events: int, value_sum: int, users: BitMap | None, stored: tuple[int, int, int]) -> None:
        """Add a part; parts of a cell with more than one all bring their users, or none does."""
        self.events += events
        self.value_sum += value_sum
        if users is None:
            self.stored = stored
        else:
            self.sets.append(users)

    @property
    def users(self) -> BitMap | None:
        """Return who they are, if known; all parts are united at once, which is five times as quick."""
        if len(self.sets) > 1 or (self.sets and self.left):
            united = BitMap.union(*self.sets)
            self.sets = [united - self.left if self.left else united]
            self.left = NOBODY
        return self.sets[0] if self.sets else None

    def count(self, population: Population) -> int:
        """Return how many different people did it."""
        users = self.users
        if users is None:
            return self.stored[(Population.KNOWN, Population.PEOPLE, Population.ACTORS).index(population)]
        return count(users, population)


def count(users: BitMap, population: Population) -> int:
    """Count those of a set who belong to a population."""
    if population is Population.ACTORS:
        return len(users)
    return people(users) if population is Population.PEOPLE else known(users)


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells that are not empty by (event_key, bucket), and (event, category) by event_key.

    Where everything was asked for together, the only event_key is ANY_EVENT.
    """

    cells: dict[tuple[int, int], Cell]
    names: dict[int, tuple[str, str]]

    def merged(self, bucket_count: int) -> list[Cell]:
        """Return one cell for each bucket, event types taken together."""
        result = [Cell() for _ in range(bucket_count)]
        for (_, bucket), cell in self.cells.items():
            result[bucket].add(cell.events, cell.value_sum, cell.users, cell.stored)
        return result

    def merged_by_events(self, wanted: "Sequence[Sequence[str]]", bucket_count: int) -> list[list[Cell]]:
        """Return what merged() would of the events of each list alone."""
        found: dict[str, list[tuple[int, Cell]]] = {}
        for (event_key, bucket), cell in self.cells.items():
            found.setdefault(self.names[event_key][0], []).append((bucket, cell))
        result = [[Cell() for _ in range(bucket_count)] for _ in wanted]
        for merged, events in zip(result, wanted, strict=True):
            for bucket, cell in chain.from_iterable(found.get(event, ()) for event in dict.fromkeys(events)):
                merged[bucket].add(cell.events, cell.value_sum, cell.users, cell.stored)
        return result


Row = tuple[int, int, int, int, "Decimal | None", int, int, int, bytes | None]


def gather(rows: "Iterable[Row]", plan: Plan, *, any_event: bool) -> Cells:
    """Put the rows of a statement together."""
    names: dict[int, tuple[str, str]] = {}
    cells: dict[tuple[int, int], Cell] = {}
    slots: list[Row] = []
    deltas: list[Groups] = []
    for row in rows:
        match row[0]:
            case Kind.NAME:
                event, _, category = (row[8] or b"").decode().partition("\0")
                names[row[1]] = (event, category)
            case Kind.DELTA:
                deltas.append(Groups.unpack(row[8] or b""))
            case _:
                slots.append(row)
    buckets = _slot_buckets(slots, plan)
    for (kind, event_key, _, events, value_sum, *stored, users), bucket in zip(slots, buckets, strict=True):
        if bucket == NOWHERE:  # between the days and hours that were asked for
            continue
        cell = cells.setdefault((ANY_EVENT if any_event else event_key, bucket), Cell())
        known_, people_, actors = stored
        cell.add(events, int(value_sum or 0), _set(kind, users), (known_, people_, actors))
    if deltas:
        _add_deltas(cells, Groups.join(deltas), plan, None if any_event else frozenset(names))
    return Cells({name: cell for name, cell in cells.items() if cell.events}, names)


def _set(kind: int, users: bytes | None) -> BitMap | None:
    if users is None:
        return None
    return raw_users(users) if kind == Kind.RAW else BitMap.deserialize(users)


def raw_users(packed: bytes) -> BitMap:
    """Return the set of user keys in a packed column."""
    return bitmap(np.frombuffer(packed, ">i4").astype(np.int32))


def _slot_buckets(slots: "list[Row]", plan: Plan) -> list[int]:
    kinds = np.array([row[0] for row in slots], np.int32)
    numbers = np.array([row[2] for row in slots], np.int32)
    buckets = np.where(
        kinds == Kind.DAY,
        plan.bucket_of_days(numbers),
        np.where(kinds == Kind.HOUR, plan.bucket_of_hours(numbers), numbers),
    )
    return [int(bucket) for bucket in buckets]


def _add_deltas(
    cells: dict[tuple[int, int], Cell], groups: Groups, plan: Plan, event_keys: frozenset[int] | None
) -> None:
    by_day = plan.bucket_of_days(groups.days)
    buckets = np.where(by_day == NOWHERE, plan.bucket_of_hours(groups.hours), by_day)
    wanted = buckets != NOWHERE
    if event_keys is not None:
        wanted &= np.isin(groups.event_keys, np.fromiter(event_keys, np.int32))
    rows = np.flatnonzero(wanted)
    groups, buckets = groups.take(rows), buckets[rows]
    for event_key, bucket, rollup in fold(groups, buckets):
        cell = cells.setdefault((ANY_EVENT if event_keys is None else event_key, bucket), Cell())
        cell.add(rollup.events, rollup.value_sum, rollup.users, (0, 0, 0))
        cell.left = cell.left | rollup.left  # in place it would change the roll-up's own
