"""Adjusts p-values for having asked several questions at once."""

from collections.abc import Sequence
from itertools import accumulate


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values that keep the chance of any false discovery at the level.

    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. of Statistics 6 (1979).
    """
    _check(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    scaled = [min(1.0, p_values[at] * (len(order) - rank)) for rank, at in enumerate(order)]
    return _restored(order, list(accumulate(scaled, max)))


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return p-values that keep the expected share of false ones among the discoveries at the level.

    Benjamini, Hochberg, "Controlling the false discovery rate", JRSS B 57 (1995).
    """
    _check(p_values)
    order = sorted(range(len(p_values)), key=p_values.__getitem__, reverse=True)
    scaled = [min(1.0, p_values[at] * len(order) / (len(order) - rank)) for rank, at in enumerate(order)]
    return _restored(order, list(accumulate(scaled, min)))


def _restored(order: Sequence[int], adjusted: Sequence[float]) -> list[float]:
    """Return the values, which are in this order of positions, at their positions."""
    by_position = dict(zip(order, adjusted, strict=True))
    return [by_position[position] for position in range(len(order))]


def _check(p_values: Sequence[float]) -> None:
    if not all(0 <= value <= 1 for value in p_values):
        raise ValueError("p-values lie from 0 to 1")
