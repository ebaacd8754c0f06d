"""Which reads of one call are answered together: the same buckets, other events or other conditions. Pure."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from services.events.domain import Condition, Selection

# What is held at once of a shared read, as much as of the longest series alone.
MAXIMUM_CELLS = 10_000
# Which conditions an event meets is said by the bits of an int8 that is not negative.
MAXIMUM_SETS = 63


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read: buckets ([start, end) in Unix µs, disjoint and in order), and which events count.

    users: whether cells must say how many different people there were; sets: who they were.
    """

    buckets: tuple[tuple[int, int], ...]
    selection: "Selection"
    users: bool = True
    sets: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """Reads that differ in their events alone, or in their conditions alone, and where each was asked for."""

    wanted: tuple[Wanted, ...]
    places: tuple[tuple[int, ...], ...]

    @property
    def differ_in_conditions(self) -> bool:
        """Tell whether it is the conditions that differ."""
        return len({conditions_key(each) for each in self.wanted}) > 1

    @property
    def events(self) -> tuple[str, ...]:
        """The events of all, each once; they all name some."""
        names = chain.from_iterable(each.selection.events or () for each in self.wanted)
        return tuple(dict.fromkeys(names))

    @property
    def condition_sets(self) -> "tuple[tuple[Condition, ...], ...]":
        """The conditions of each."""
        return tuple(each.selection.conditions for each in self.wanted)


@dataclass(frozen=True, slots=True)
class _Read:
    wanted: Wanted
    places: tuple[int, ...]


def share(wanted: Sequence[Wanted]) -> Iterator[Together]:
    """Put reads together, each in one group; whatever is asked for twice is read once."""
    alike: dict[Hashable, list[int]] = {}
    for place, each in enumerate(wanted):
        key = (_family(each), each.selection.events, conditions_key(each))
        alike.setdefault(key, []).append(place)
    distinct = [_Read(wanted[places[0]], tuple(places)) for places in alike.values()]
    for family in _grouped(distinct, _family):
        for group in _fewest(family):
            yield Together(tuple(each.wanted for each in group), tuple(each.places for each in group))


def conditions_key(wanted: Wanted) -> str:
    """Return what tells conditions apart, true from 1 too, which Python takes for equal."""
    return repr(wanted.selection.conditions)


def single_path(wanted: Wanted) -> tuple[str, ...] | None:
    """Return the property that all conditions are about, None where there is no such property."""
    paths = {condition.path for condition in wanted.selection.conditions}
    return paths.pop() if len(paths) == 1 else None


def _family(wanted: Wanted) -> Hashable:
    """Return what all reads of a statement have in common."""
    selection = wanted.selection
    return (
        wanted.buckets,
        (wanted.users, wanted.sets),
        (selection.events is None, selection.categories),
        (bool(selection.conditions), single_path(wanted)),
    )


def _fewest(family: Sequence[_Read]) -> list[list[_Read]]:
    """Return groups in which events alone or conditions alone differ, whichever are fewer."""
    most = max(1, MAXIMUM_CELLS // max(1, len(family[0].wanted.buckets)))
    other_events = _cut(_grouped(family, conditions_key), most)
    other_conditions = _cut(_grouped(family, _events), min(most, MAXIMUM_SETS))
    return min(other_events, other_conditions, key=len)


def _events(wanted: Wanted) -> Hashable:
    return wanted.selection.events


def _grouped(reads: Iterable[_Read], key: Callable[[Wanted], Hashable]) -> list[list[_Read]]:
    groups: dict[Hashable, list[_Read]] = {}
    for each in reads:
        groups.setdefault(key(each.wanted), []).append(each)
    return list(groups.values())


def _cut(groups: list[list[_Read]], most: int) -> list[list[_Read]]:
    return [group[start : start + most] for group in groups for start in range(0, len(group), most)]
