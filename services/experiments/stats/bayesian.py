"""How probable it is that a treatment is better, and what choosing it costs if it is not.

Shares: a beta distribution each, from a uniform prior. Everything else: a normal distribution of the
difference, from a flat prior. The loss of choosing the treatment is E[max(control − treatment, 0)]: Stucchio,
"Bayesian A/B Testing at VWO", 2015, on the loss function.
"""

from dataclasses import dataclass
from functools import cache
from math import exp, pi, sqrt
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import betainc, betaincinv, betaln, ndtr

from services.experiments.stats.proportions import Proportion
from services.experiments.stats.values import Estimate

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NODES = 128
_TAIL = 1e-15


@dataclass(frozen=True, slots=True)
class Belief:
    """The chance that the treatment is better, and the expected loss of choosing it, in the metric's unit."""

    chance_to_win: float
    expected_loss: float


@dataclass(frozen=True, slots=True)
class _Beta:
    a: float
    b: float

    @property
    def mean(self) -> float:
        return self.a / (self.a + self.b)

    @property
    def mirrored(self) -> "_Beta":
        """Return the distribution of 1 − x."""
        return _Beta(self.b, self.a)

    @property
    def variance(self) -> float:
        return self.mean * (1 - self.mean) / (self.a + self.b + 1)


def belief_of_proportions(control: Proportion, treatment: Proportion) -> Belief:
    """Return the belief about two shares; more is better. Without participants the prior speaks."""
    before = _Beta(1 + control.converted, 1 + control.participants - control.converted)
    after = _Beta(1 + treatment.converted, 1 + treatment.participants - treatment.converted)
    # E[A; A > B] is the mean of A times P(A⁺ > B), where A⁺ has one success more.
    loss = before.mean * _chance_above(_Beta(before.a + 1, before.b), after)
    loss -= after.mean * _chance_above(before, _Beta(after.a + 1, after.b))
    return Belief(_chance_above(after, before), max(0.0, loss))


def belief_of_estimate(estimate: Estimate) -> Belief:
    """Return the belief about a difference; more is better."""
    z = estimate.effect / estimate.standard_error
    density = exp(-z * z / 2) / sqrt(2 * pi)
    loss = estimate.standard_error * density - estimate.effect * float(ndtr(-z))
    return Belief(float(ndtr(z)), max(0.0, loss))


def _chance_above(upper: _Beta, lower: _Beta) -> float:
    """Return P(upper > lower).

    Integrates over the narrower distribution, across which the other's distribution function is smooth, and
    which is turned to the side of 0: doubles are dense there, and would run out of steps next to 1.
    """
    if min(upper, lower, key=lambda each: each.variance).mean > 0.5:  # noqa: PLR2004 - the middle
        upper, lower = lower.mirrored, upper.mirrored
    if upper.variance <= lower.variance:
        return _expected_below(upper, lower)
    return 1 - _expected_below(lower, upper)


def _expected_below(narrow: _Beta, wide: _Beta) -> float:
    """Return P(wide < narrow) = ∫ density of `narrow` × distribution function of `wide`."""
    low = float(betaincinv(narrow.a, narrow.b, _TAIL))
    high = 1 - float(betaincinv(narrow.b, narrow.a, _TAIL))
    nodes, weights = _legendre()
    places = low + (high - low) * nodes
    logs = (narrow.a - 1) * np.log(places) + (narrow.b - 1) * np.log1p(-places)
    logs -= betaln(narrow.a, narrow.b)
    total = (high - low) * np.sum(weights * np.exp(logs) * betainc(wide.a, wide.b, places))
    return float(min(1.0, max(0.0, total)))


@cache
def _legendre() -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return nodes and weights of Gauss and Legendre's quadrature on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return (nodes + 1) / 2, weights / 2
