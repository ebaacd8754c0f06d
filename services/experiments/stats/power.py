"""How many participants a test needs, and what it can see with those it has.

Normal approximations of two-sided tests. Shares: Fleiss, Levin, Paik, "Statistical Methods for Rates and
Proportions", 3rd edition, equation 4.14 (without correction for continuity), which suits the pooled z-test.
"""

from math import ceil, sqrt

from scipy.special import ndtr, ndtri


def participants_for_proportions(
    control_ratio: float, treatment_ratio: float, confidence_level: float, power: float
) -> int:
    """Return the participants each of two equal variants needs to tell these shares apart."""
    if not (0 < control_ratio < 1 and 0 < treatment_ratio < 1) or control_ratio == treatment_ratio:
        raise ValueError("two different shares between 0 and 1")
    pooled = (control_ratio + treatment_ratio) / 2
    apart = control_ratio * (1 - control_ratio) + treatment_ratio * (1 - treatment_ratio)
    z_level, z_power = _quantiles(confidence_level, power)
    needed = z_level * sqrt(2 * pooled * (1 - pooled)) + z_power * sqrt(apart)
    return ceil((needed / (treatment_ratio - control_ratio)) ** 2)


def participants_for_means(
    standard_deviation: float, effect: float, confidence_level: float, power: float
) -> int:
    """Return the participants each of two equal variants needs to see this difference of means."""
    if not standard_deviation > 0 or effect == 0:
        raise ValueError("a spread above 0 and a difference")
    needed = sum(_quantiles(confidence_level, power)) * standard_deviation / effect
    return ceil(2 * needed**2)


def power_at(effect: float, standard_error: float, confidence_level: float) -> float:
    """Return the chance that a test whose difference has this standard error sees this effect."""
    if not standard_error > 0:
        raise ValueError("a standard error above 0")
    z_level = float(ndtri((1 + confidence_level) / 2))
    z = abs(effect) / standard_error
    return float(ndtr(z - z_level) + ndtr(-z - z_level))


def detectable_effect(standard_error: float, confidence_level: float, power: float) -> float:
    """Return the smallest effect, in the metric's unit, that such a test sees with this power."""
    return sum(_quantiles(confidence_level, power)) * standard_error


def _quantiles(confidence_level: float, power: float) -> tuple[float, float]:
    if not (0 < confidence_level < 1 and 0 < power < 1):
        raise ValueError("confidence level and power lie between 0 and 1")
    return float(ndtri((1 + confidence_level) / 2)), float(ndtri(power))
