"""Segments in which more people are lost than elsewhere: two-proportion tests, adjusted together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Below, the normal approximation of a count is poor (Cochran, 1954: expected counts of five).
LEAST_EXPECTED = 5.0


@dataclass(frozen=True, slots=True)
class Segment:
    """People with one value (by its code) of those who may be lost, and everybody else."""

    code: int
    users: int
    lost: int
    other_users: int
    other_lost: int

    @property
    def difference(self) -> float:
        """Return how much larger the share lost is than elsewhere."""
        return self.lost / self.users - self.other_lost / self.other_users

    @property
    def is_testable(self) -> bool:
        """Tell whether it is large enough for the test."""
        pooled = self._pooled
        expected = [size * share for size in (self.users, self.other_users) for share in (pooled, 1 - pooled)]
        return min(expected) >= LEAST_EXPECTED

    @property
    def p_value(self) -> float:
        """Return the chance of such a difference or a larger one if there were none.

        One-sided pooled z-test (Fleiss, Levin, Paik: Statistical Methods for Rates and Proportions, 3.1).
        """
        pooled = self._pooled
        variance = pooled * (1 - pooled) * (1 / self.users + 1 / self.other_users)
        return math.erfc(self.difference / math.sqrt(2 * variance)) / 2

    @property
    def _pooled(self) -> float:
        return (self.lost + self.other_lost) / (self.users + self.other_users)


def segments_of(codes: NDArray[np.int64], lost: NDArray[np.bool_]) -> list[Segment]:
    """Return the segments of people by their codes; none where all have one code."""
    users = np.bincount(codes)
    losses = np.bincount(codes[lost], minlength=len(users))
    total, total_lost = len(codes), int(lost.sum())
    if np.count_nonzero(users) < 2:  # noqa: PLR2004 - nobody else to compare with
        return []
    return [
        Segment(
            code,
            users[code].item(),
            losses[code].item(),
            total - users[code].item(),
            total_lost - losses[code].item(),
        )
        for code in np.flatnonzero(users).tolist()
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p-values (Holm, 1979): reject those at most α to err in any of them at most α."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted = [0.0] * len(p_values)
    least = 0.0
    for rank, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
