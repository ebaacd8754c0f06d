"""A lasting change of level: what is older is brought to the new level, for its shape is still worth knowing.

Cycles are compared by their means. A shift needs two cycles or more that all lie beyond six older ones, by
twice the range of those and by more than their own: growth and noise have no such gap. One cycle lies between
them; the place of the shift is searched there.
"""

from dataclasses import dataclass

import numpy as np

from services.forecasting.models.season import along, median_profile
from services.forecasting.models.values import Values

_BEFORE = 6
_FEWEST_AFTER = 2
_MOST_AFTER = 6
_RANGES = 2.0


@dataclass(frozen=True, slots=True)
class Shift:
    """A shift of level at a position of a series, from one mean of a cycle to another."""

    position: int
    level_before: float
    level_after: float


def last_shift(filled: Values, period: int) -> Shift | None:
    """Return the shift that the last two to six cycles show, None where there is none."""
    count = len(filled) // period
    start = len(filled) - count * period
    means = filled[start:].reshape(count, period).mean(axis=1)
    for after in range(min(_MOST_AFTER, count - _BEFORE - 1), _FEWEST_AFTER - 1, -1):
        old, new = means[count - after - 1 - _BEFORE : count - after - 1], means[count - after :]
        if _is_apart(old, new):
            between = start + (count - after - 1) * period
            levels = float(np.median(old)), float(np.median(new))
            return Shift(_place(filled, between, period, levels), *levels)
    return None


def is_last_apart(filled: Values, period: int) -> bool:
    """Tell whether the last cycle alone lies apart from six older ones, too short to be called lasting."""
    count = len(filled) // period
    if count < _BEFORE + 2:
        return False
    means = filled[len(filled) - count * period :].reshape(count, period).mean(axis=1)
    return _is_apart(means[-_BEFORE - 2 : -2], means[-1:])


def at_new_level(values: Values, shift: Shift) -> Values:
    """Return the values with those before the shift brought to its new level, by ratio where there is one."""
    older, newer = values[: shift.position], values[shift.position :]
    if min(shift.level_before, shift.level_after) > 0:
        return np.concatenate([older * (shift.level_after / shift.level_before), newer])
    return np.concatenate([older + (shift.level_after - shift.level_before), newer])


def _is_apart(old: Values, new: Values) -> bool:
    gap = max(float(new.min() - old.max()), float(old.min() - new.max()))
    return gap > _RANGES * float(np.ptp(old)) and gap > float(np.ptp(new))


def _place(filled: Values, between: int, period: int, levels: tuple[float, float]) -> int:
    """Return where in the cycle from `between` the shift fits the values best."""
    profile = along(median_profile(filled[None, :between], period, _BEFORE), period)[0]
    cycle = filled[between : between + period] - profile
    squares = [
        float(((cycle[:at] - levels[0]) ** 2).sum() + ((cycle[at:] - levels[1]) ** 2).sum())
        for at in range(period + 1)
    ]
    return between + int(np.argmin(squares))
