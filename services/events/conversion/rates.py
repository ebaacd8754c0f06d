"""Conversion rates: attempts reduced to counts and times."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from services.events.conversion.matching import NONE

if TYPE_CHECKING:
    from services.events.conversion.matching import Attempts

_SECOND = 1e6  # µs


@dataclass(frozen=True, slots=True)
class Rate:
    """Starters, those who converted, those who still may; seconds are None where nobody converted."""

    starters: int = 0
    converters: int = 0
    open_entries: int = 0
    median_seconds: float | None = None
    mean_seconds: float | None = None

    @property
    def conversion_ratio(self) -> float | None:
        """Converters ÷ starters, None where nobody started."""
        return self.converters / self.starters if self.starters else None


def rates(attempts: "Attempts", cells: NDArray[np.intp], count: int, open_since: int | None) -> list[Rate]:
    """Return the rate of each of `count` cells.

    Args:
        attempts: what happened.
        cells: which cell each attempt belongs to; one below 0 belongs to none.
        count: how many cells there are.
        open_since: start events from this instant on (Unix µs) may still convert; None for none.

    """
    inside = cells >= 0
    cells, delays, lasts = cells[inside], attempts.delays[inside], attempts.last_starts[inside]
    has_converted = delays != NONE
    is_open = np.zeros(len(cells), bool) if open_since is None else ~has_converted & (lasts >= open_since)
    starters = np.bincount(cells, minlength=count)
    open_entries = np.bincount(cells[is_open], minlength=count)
    converted, delays = cells[has_converted], delays[has_converted]
    order = np.lexsort((delays, converted))
    converters = np.bincount(converted, minlength=count)
    parts = np.split(delays[order] / _SECOND, np.cumsum(converters)[:-1])
    counts = zip(starters.tolist(), converters.tolist(), open_entries.tolist(), strict=True)
    return [Rate(*each, *_middle(seconds)) for each, seconds in zip(counts, parts, strict=True)]


def _middle(seconds: NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Return median and mean of sorted numbers."""
    if not len(seconds):
        return None, None
    lower, upper = seconds[(len(seconds) - 1) // 2], seconds[len(seconds) // 2]
    return float(lower + upper) / 2, float(seconds.mean())
