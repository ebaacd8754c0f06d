"""Value rows: which events have which values of registered properties; and the groups made of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.events.rollups.deltas import Groups, Inserted, group


@dataclass(frozen=True, slots=True)
class ValueRows:
    """A row for each registered property of each event: the event's position, the key of its value.

    They hold for one version of the registrations.
    """

    version: int
    positions: NDArray[np.int32]
    value_keys: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.positions)

    def take(self, positions: NDArray[np.intp], events: int) -> "ValueRows":
        """Return the rows of some of so many events, which are then numbered in the order named."""
        numbers = np.full(events, -1, np.int32)
        numbers[positions] = np.arange(len(positions), dtype=np.int32)
        moved = numbers[self.positions]
        is_there = moved >= 0
        return ValueRows(self.version, moved[is_there], self.value_keys[is_there])


def no_rows(version: int) -> ValueRows:
    """Return the rows of events while nothing is registered."""
    empty = np.empty(0, np.int32)
    return ValueRows(version, empty, empty)


# Before anybody registers anything.
NOTHING_REGISTERED = no_rows(0)


def value_groups(events: Inserted, rows: ValueRows) -> Groups | None:
    """Reduce events to a group for each (value, reporting day); None where there is none.

    The groups' event keys are value keys. Whoever moves or removes events negates events, value_high and
    value_low of what this returns for them.
    """
    if not len(rows):
        return None
    at = rows.positions
    days = events.days[at]
    return group(
        Inserted(
            event_keys=rows.value_keys,
            user_keys=events.user_keys[at],
            values=events.values[at],
            shares=np.zeros(len(rows), np.uint64),
            days=days,
            hours=days * 24,  # one hour a day: these roll-ups know no hours
        )
    )
