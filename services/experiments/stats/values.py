"""What a comparison of two variants says, and how it says that a number does not exist."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Undefined:
    """Stands for a number that does not exist; the reason says why, for people."""

    reason: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval."""

    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A difference, treatment minus control, of variants with so many observations together.

    The standard error is that of the difference; it is above 0.
    """

    effect: float
    standard_error: float
    observations: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Treatment against control, at a fixed horizon: good for one look, at a sample planned before.

    Effects are in the metric's unit, relative ones as a ratio of the control's value. The p-value is
    two-sided, for "no difference". `estimate` is what the methods for many looks start from.
    """

    method: str
    absolute_effect: float | Undefined
    relative_effect: float | Undefined
    interval: Interval | Undefined
    relative_interval: Interval | Undefined
    p_value: float | Undefined
    estimate: Estimate | Undefined


def undefined_comparison(method: str, reason: str) -> Comparison:
    """Return a comparison of which nothing exists, for one reason."""
    absent = Undefined(reason)
    return Comparison(method, absent, absent, absent, absent, absent, absent)


def quotient(numerator: float, denominator: float, reason: str) -> float | Undefined:
    """Return the quotient, undefined for this reason where the denominator is 0."""
    return numerator / denominator if denominator else Undefined(reason)


def map_defined(value: T | Undefined, compute: Callable[[T], R]) -> R | Undefined:
    """Return what `compute` makes of a value that exists, else the reason why it does not."""
    return value if isinstance(value, Undefined) else compute(value)


def check_level(confidence_level: float) -> None:
    """Raise ValueError unless the level lies between 0 and 1."""
    if not 0 < confidence_level < 1:
        raise ValueError(f"a confidence level lies between 0 and 1, not at {confidence_level}")
