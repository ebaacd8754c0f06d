"""Shares of participants who converted.

The p-value is that of the pooled z-test. The interval of the difference is method 10 of Newcombe, "Interval
estimation for the difference between independent proportions", Statistics in Medicine 17 (1998), made of
Wilson's score intervals; it holds its level at small samples and rates near 0, where the usual one fails. The
relative interval is that of Katz, Baptista, Azen, Pike, Biometrics 34 (1978), method C.
"""

from dataclasses import dataclass
from math import exp, hypot, log, sqrt

from scipy.special import ndtr, ndtri

from services.experiments.stats.values import (
    Comparison,
    Estimate,
    Interval,
    Undefined,
    check_level,
    quotient,
    undefined_comparison,
)

POOLED_Z = "pooled z-test, Newcombe interval"


@dataclass(frozen=True, slots=True)
class Proportion:
    """So many of the participants converted."""

    participants: int
    converted: int

    def __post_init__(self) -> None:
        if not 0 <= self.converted <= self.participants:
            raise ValueError("0 to all participants can convert")

    @property
    def ratio(self) -> float | Undefined:
        """Return the share."""
        return quotient(self.converted, self.participants, "the variant has no participants")


def wilson_interval(proportion: Proportion, confidence_level: float) -> Interval | Undefined:
    """Return Wilson's score interval of a share: JASA 22 (1927)."""
    check_level(confidence_level)
    ratio = proportion.ratio
    if isinstance(ratio, Undefined):
        return ratio
    n = proportion.participants
    z = float(ndtri((1 + confidence_level) / 2))
    middle = (ratio + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(ratio * (1 - ratio) / n + z * z / (4 * n * n))
    # Rounding must not leave the ends, which are exact, outside.
    lower = 0.0 if proportion.converted == 0 else middle - half
    return Interval(lower, 1.0 if proportion.converted == n else middle + half)


def compare_proportions(control: Proportion, treatment: Proportion, confidence_level: float) -> Comparison:
    """Compare the shares of two variants."""
    check_level(confidence_level)
    before, after = control.ratio, treatment.ratio
    if isinstance(before, Undefined):
        return undefined_comparison(POOLED_Z, "the control has no participants")
    if isinstance(after, Undefined):
        return undefined_comparison(POOLED_Z, "the treatment has no participants")
    effect = after - before
    return Comparison(
        method=POOLED_Z,
        absolute_effect=effect,
        relative_effect=quotient(effect, before, "nobody converted in the control"),
        interval=_newcombe(control, treatment, confidence_level),
        relative_interval=_katz(control, treatment, confidence_level),
        p_value=_pooled_p_value(control, treatment, effect),
        estimate=_estimate(control, treatment, effect),
    )


def _pooled_p_value(control: Proportion, treatment: Proportion, effect: float) -> float | Undefined:
    participants = control.participants + treatment.participants
    pooled = (control.converted + treatment.converted) / participants
    if pooled in {0, 1}:
        return Undefined("nobody or everybody converted, in both variants")
    per_pair = 1 / control.participants + 1 / treatment.participants
    return 2 * float(ndtr(-abs(effect) / sqrt(pooled * (1 - pooled) * per_pair)))


def _newcombe(control: Proportion, treatment: Proportion, confidence_level: float) -> Interval | Undefined:
    before, after = control.ratio, treatment.ratio
    first, second = (
        wilson_interval(control, confidence_level),
        wilson_interval(treatment, confidence_level),
    )
    if (
        isinstance(before, Undefined)
        or isinstance(after, Undefined)
        or isinstance(first, Undefined)
        or isinstance(second, Undefined)
    ):
        return Undefined("a variant has no participants")
    effect = after - before
    return Interval(
        effect - hypot(after - second.lower, first.upper - before),
        effect + hypot(second.upper - after, before - first.lower),
    )


def _katz(control: Proportion, treatment: Proportion, confidence_level: float) -> Interval | Undefined:
    if not control.converted or not treatment.converted:
        return Undefined("nobody converted in one of the variants")
    centre = log(treatment.converted / treatment.participants) - log(control.converted / control.participants)
    variance = sum(1 / each.converted - 1 / each.participants for each in (control, treatment))
    half = float(ndtri((1 + confidence_level) / 2)) * sqrt(variance)
    return Interval(exp(centre - half) - 1, exp(centre + half) - 1)


def _estimate(control: Proportion, treatment: Proportion, effect: float) -> Estimate | Undefined:
    variance = sum(
        each.converted * (each.participants - each.converted) / each.participants**3
        for each in (control, treatment)
    )
    if variance == 0:
        return Undefined("nobody or everybody converted, in each of the variants")
    return Estimate(effect, sqrt(variance), control.participants + treatment.participants)
