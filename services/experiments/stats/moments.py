"""Sufficient statistics that can be added: count, mean, and the sum of squared deviations from it.

Sums of squares would cancel where values are large beside their spread; deviations do not. Parts are added by
Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979,
equations 2.1a and 2.1b, products of two variables by Pébay, "Formulas for Robust, One-Pass Parallel
Computation of Covariances and Arbitrary-Order Statistical Moments", SAND2008-6212, on covariances.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from services.experiments.stats.values import Undefined

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOO_FEW = "fewer than two participants"
_MINIMUM_FOR_VARIANCE = 2


@dataclass(frozen=True, slots=True)
class Moments:
    """Of one variable: n observations, their mean, and m2 = Σ (x − mean)². Without any, mean and m2 are 0."""

    n: int
    mean: float
    m2: float

    def __post_init__(self) -> None:
        if self.n < 0 or not np.isfinite(self.mean) or not 0 <= self.m2 < np.inf:
            raise ValueError("moments have n ≥ 0, a finite mean and a finite m2 ≥ 0")

    @classmethod
    def of(cls, values: "NDArray[np.float64]") -> Self:
        """Return the moments of an array."""
        if not len(values):
            return cls(0, 0.0, 0.0)
        mean = float(values.mean())
        return cls(len(values), mean, float(np.square(values - mean).sum()))

    @classmethod
    def of_sums(cls, n: int, total: int, squares: int, scale: int) -> Self:
        """Return the moments of values that were added up exactly, as whole numbers of 1/scale.

        Nothing cancels: the difference of the two large terms is taken between whole numbers.
        """
        if n == 0:
            return cls(0, 0.0, 0.0)
        return cls(n, total / (n * scale), (n * squares - total * total) / (n * scale * scale))

    def __add__(self, other: "Moments") -> "Moments":
        n = self.n + other.n
        if n == 0:
            return Moments(0, 0.0, 0.0)
        delta = other.mean - self.mean
        mean = self.mean + delta * other.n / n
        return Moments(n, mean, self.m2 + other.m2 + delta * delta * self.n * other.n / n)

    @property
    def variance(self) -> float | Undefined:
        """Return the unbiased variance of one observation."""
        return self.m2 / (self.n - 1) if self.n >= _MINIMUM_FOR_VARIANCE else Undefined(_TOO_FEW)


@dataclass(frozen=True, slots=True)
class JointMoments:
    """Of two variables of the same participants; c = Σ (x − mean of x)(y − mean of y)."""

    x: Moments
    y: Moments
    c: float

    def __post_init__(self) -> None:
        # A hair above 1 is rounding.
        if self.x.n != self.y.n or self.c * self.c > self.x.m2 * self.y.m2 * (1 + 1e-9):
            raise ValueError("x and y are of the same participants, and correlate by no more than 1")

    @classmethod
    def of(cls, x: "NDArray[np.float64]", y: "NDArray[np.float64]") -> Self:
        """Return the moments of two arrays of equal length."""
        first, second = Moments.of(x), Moments.of(y)
        return cls(first, second, float(((x - first.mean) * (y - second.mean)).sum()))

    def __add__(self, other: "JointMoments") -> "JointMoments":
        x, y = self.x + other.x, self.y + other.y
        if x.n == 0:
            return JointMoments(x, y, 0.0)
        between = (other.x.mean - self.x.mean) * (other.y.mean - self.y.mean) * self.x.n * other.x.n / x.n
        return JointMoments(x, y, self.c + other.c + between)

    @property
    def n(self) -> int:
        """Return how many participants there are."""
        return self.x.n

    @property
    def covariance(self) -> float | Undefined:
        """Return the unbiased covariance."""
        return self.c / (self.n - 1) if self.n >= _MINIMUM_FOR_VARIANCE else Undefined(_TOO_FEW)
