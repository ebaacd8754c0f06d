"""Which group a person belongs to: the value of a property on the events that filled their steps."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.funnels.rules import OrderMode

if TYPE_CHECKING:
    from services.funnels.columns import Matches, Source


class Touch(Enum):
    """Which event of an attempt says the group."""

    FIRST = "first"
    LAST = "last"
    STEP = "step"


@dataclass(frozen=True, slots=True)
class StepValues:
    """A code for each person and step; `absent`, the highest, where there is no value."""

    codes: NDArray[np.int64]
    absent: int

    def of(self, touch: Touch, step: int = 0) -> NDArray[np.int64]:
        """Return the code of each person; `step` is that of Touch.STEP."""
        if touch is Touch.STEP:
            return self.codes[:, step]
        columns = self.codes if touch is Touch.FIRST else self.codes[:, ::-1]
        return _first(columns, self.absent)

    def up_to(self, step: int) -> NDArray[np.int64]:
        """Return the code of the first value among the steps up to one."""
        return _first(self.codes[:, : step + 1], self.absent)


def _first(columns: NDArray[np.int64], absent: int) -> NDArray[np.int64]:
    places = (columns != absent).argmax(axis=1)
    found: NDArray[np.int64] = columns[np.arange(len(columns)), places]
    return found


def step_values(
    events: "Source", codes: NDArray[np.int32], texts: int, matches: "Matches", mode: OrderMode
) -> StepValues:
    """Return the value of the event that filled each step of each person.

    Of several events at one instant that fill the step, the least code counts.

    Args:
        events: as they were matched.
        codes: of each event, -1 where it lacks the property.
        texts: how many values there are; codes are below.
        matches: the attempts that count.
        mode: of the funnel; in unordered ones any step's event may be the one.

    """
    found: NDArray[np.int64] = np.full(matches.times.shape, texts, np.int64)
    if not texts or not len(found):
        return StepValues(found, texts)
    people = np.searchsorted(matches.user_keys, events.user_keys).clip(max=len(found) - 1)
    known = (matches.user_keys[people] == events.user_keys) & (codes >= 0)
    people, times, steps, codes = people[known], events.times[known], events.steps[known], codes[known]
    for step in range(found.shape[1]):
        may_fill = steps if mode is OrderMode.UNORDERED else steps >> np.uint64(step) & np.uint64(1)
        reached = matches.times[:, step]
        fills = (may_fill != 0) & (times == reached[people])
        column = found[:, step]
        np.minimum.at(column, people[fills], codes[fills])
    return StepValues(found, texts)
