"""Means of two variants whose variances may differ.

Welch, "The generalization of Student's problem when several different population variances are involved",
Biometrika 34 (1947); degrees of freedom by Satterthwaite, "An Approximate Distribution of Estimates of
Variance Components", Biometrics Bulletin 2 (1946). The relative interval is by the delta method: Deng,
Knoblich, Lu, "Applying the Delta Method in Metric Analytics", KDD 2018, section 2, on percent changes.
"""

from math import sqrt

from scipy.special import ndtri, stdtr, stdtrit

from services.experiments.stats.moments import Moments
from services.experiments.stats.values import (
    Comparison,
    Estimate,
    Interval,
    Undefined,
    check_level,
    quotient,
    undefined_comparison,
)

WELCH = "Welch's t-test"
ZERO_CONTROL = "the control's value is zero"
NO_VARIANCE = "the metric does not vary in either variant"


def compare_means(control: Moments, treatment: Moments, confidence_level: float) -> Comparison:
    """Compare the means of two variants."""
    check_level(confidence_level)
    for name, moments in (("control", control), ("treatment", treatment)):
        if moments.n == 0:
            return undefined_comparison(WELCH, f"the {name} has no participants")
    effect = treatment.mean - control.mean
    relative = quotient(effect, control.mean, ZERO_CONTROL)
    spread = _spread(control, treatment)
    if isinstance(spread, Undefined):
        return Comparison(WELCH, effect, relative, spread, spread, spread, spread)
    standard_error, freedom = spread
    half = float(stdtrit(freedom, (1 + confidence_level) / 2)) * standard_error
    return Comparison(
        method=WELCH,
        absolute_effect=effect,
        relative_effect=relative,
        interval=Interval(effect - half, effect + half),
        relative_interval=_relative_interval(control, treatment, confidence_level),
        p_value=2 * float(stdtr(freedom, -abs(effect) / standard_error)),
        estimate=Estimate(effect, standard_error, control.n + treatment.n),
    )


def _spread(control: Moments, treatment: Moments) -> tuple[float, float] | Undefined:
    """Return the standard error of the difference and its degrees of freedom."""
    first, second = control.variance, treatment.variance
    if isinstance(first, Undefined):
        return Undefined(f"the control has {first.reason}")
    if isinstance(second, Undefined):
        return Undefined(f"the treatment has {second.reason}")
    first /= control.n
    second /= treatment.n
    total = first + second
    if total == 0:
        return Undefined(NO_VARIANCE)
    # Shares instead of squares of variances, which may be too small for a double.
    share = first / total
    freedom = 1 / (share**2 / (control.n - 1) + (1 - share) ** 2 / (treatment.n - 1))
    return sqrt(total), freedom


def _relative_interval(control: Moments, treatment: Moments, confidence_level: float) -> Interval | Undefined:
    first, second = control.variance, treatment.variance
    if isinstance(first, Undefined) or isinstance(second, Undefined) or control.mean == 0:
        return Undefined(ZERO_CONTROL)
    ratio = treatment.mean / control.mean
    variance = (second / treatment.n + ratio * ratio * first / control.n) / control.mean**2
    half = float(ndtri((1 + confidence_level) / 2)) * sqrt(variance)
    return Interval(ratio - 1 - half, ratio - 1 + half)
