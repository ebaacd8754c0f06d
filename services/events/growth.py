"""How much a number changed: a ratio, or why there is none."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio, or None and why."""

    value: float | None
    absent_reason: str = ""


def change(current: float | None, previous: float | None) -> Ratio:
    """Return (current - previous) ÷ previous."""
    if current is None:
        return Ratio(None, "the current value is not defined")
    if previous is None:
        return Ratio(None, "there is no previous value")
    if previous == 0:
        return Ratio(None, "the previous value is 0")
    return _finite((current - previous) / previous)


def attainment(value: float, target: float | None) -> Ratio:
    """Return value ÷ target."""
    if target is None:
        return Ratio(None, "there is no target")
    if target == 0:
        return Ratio(None, "the target is 0")
    return _finite(value / target)


def _finite(ratio: float) -> Ratio:
    return Ratio(ratio) if math.isfinite(ratio) else Ratio(None, "it is beyond the range of numbers")
