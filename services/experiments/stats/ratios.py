"""Ratios of two sums per participant, such as revenue per order, where participants are randomised.

Delta method: Deng, Knoblich, Lu, "Applying the Delta Method in Metric Analytics: A Practical Guide with Novel
Ideas", KDD 2018, section 3, on cluster randomisation: participants, not orders, are independent.
"""

from dataclasses import dataclass
from math import sqrt

from scipy.special import ndtr, ndtri

from services.experiments.stats.moments import JointMoments
from services.experiments.stats.values import (
    Comparison,
    Estimate,
    Interval,
    Undefined,
    check_level,
    quotient,
    undefined_comparison,
)

DELTA_METHOD = "z-test by the delta method"


@dataclass(frozen=True, slots=True)
class Ratio:
    """A variant's ratio and the variance of this estimate."""

    value: float
    variance: float
    participants: int


def ratio_of(moments: JointMoments) -> Ratio | Undefined:
    """Return the ratio of x (numerator) to y (denominator)."""
    denominator = moments.y.mean
    if denominator == 0:
        return Undefined("the denominator adds up to zero")
    value = moments.x.mean / denominator
    parts = (moments.x.variance, moments.y.variance, moments.covariance)
    x, y, xy = parts
    if isinstance(x, Undefined) or isinstance(y, Undefined) or isinstance(xy, Undefined):
        return Undefined("fewer than two participants")
    # What rounding leaves of a constant ratio must not be negative.
    variance = max(0.0, x - 2 * value * xy + value * value * y) / (denominator**2 * moments.n)
    return Ratio(value, variance, moments.n)


def compare_ratios(control: JointMoments, treatment: JointMoments, confidence_level: float) -> Comparison:
    """Compare the ratios of two variants."""
    check_level(confidence_level)
    before, after = ratio_of(control), ratio_of(treatment)
    if isinstance(before, Undefined):
        return undefined_comparison(DELTA_METHOD, f"in the control, {before.reason}")
    if isinstance(after, Undefined):
        return undefined_comparison(DELTA_METHOD, f"in the treatment, {after.reason}")
    effect = after.value - before.value
    relative = quotient(effect, before.value, "the control's ratio is zero")
    standard_error = sqrt(before.variance + after.variance)
    if standard_error == 0:
        absent = Undefined("the ratio does not vary in either variant")
        return Comparison(DELTA_METHOD, effect, relative, absent, absent, absent, absent)
    half = float(ndtri((1 + confidence_level) / 2)) * standard_error
    return Comparison(
        method=DELTA_METHOD,
        absolute_effect=effect,
        relative_effect=relative,
        interval=Interval(effect - half, effect + half),
        relative_interval=_relative_interval(before, after, confidence_level),
        p_value=2 * float(ndtr(-abs(effect) / standard_error)),
        estimate=Estimate(effect, standard_error, before.participants + after.participants),
    )


def _relative_interval(before: Ratio, after: Ratio, confidence_level: float) -> Interval | Undefined:
    if before.value == 0:
        return Undefined("the control's ratio is zero")
    quotient_of_ratios = after.value / before.value
    variance = (after.variance + quotient_of_ratios**2 * before.variance) / before.value**2
    half = float(ndtri((1 + confidence_level) / 2)) * sqrt(variance)
    return Interval(quotient_of_ratios - 1 - half, quotient_of_ratios - 1 + half)
