"""Intervals and p-values that hold however often, and whenever, somebody looks.

Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory and asymptotic confidence
sequences", Annals of Statistics 52 (2024): the interval is theorem 2.2, the choice of ρ that makes it
narrowest at one sample is that of appendix B.2. The p-value is the level at which the interval ends at zero.
For a difference of variants t is the number of participants of both, and σ² = t × (standard error)².
"""

from dataclasses import dataclass
from math import exp, log, sqrt

from scipy.special import lambertw

from services.experiments.stats.values import Estimate, Interval, check_level


@dataclass(frozen=True, slots=True)
class Sequential:
    """An always-valid interval of the effect and p-value for "no difference"."""

    interval: Interval
    p_value: float


def mixture_scale(tuned_observations: int, confidence_level: float) -> float:
    """Return the ρ whose interval is narrowest at this number of observations.

    To be chosen before the first look and then kept.
    """
    check_level(confidence_level)
    if tuned_observations < 1:
        raise ValueError("is tuned to at least one observation")
    alpha = 1 - confidence_level
    return sqrt((-float(lambertw(-(alpha**2) * exp(-1), -1).real) - 1) / tuned_observations)


def always_valid(estimate: Estimate, rho: float, confidence_level: float) -> Sequential:
    """Return what may be said of an effect at this look, whatever was seen at others."""
    check_level(confidence_level)
    spent = estimate.observations * rho * rho
    alpha = 1 - confidence_level
    # Radius in standard errors: √(2 (tρ² + 1) / (tρ²) · ln(√(tρ² + 1) / α)).
    radius = sqrt(2 * (spent + 1) / spent * (0.5 * log(spent + 1) - log(alpha))) * estimate.standard_error
    z = estimate.effect / estimate.standard_error
    log_p = 0.5 * log(spent + 1) - z * z * spent / (2 * (spent + 1))
    return Sequential(
        Interval(estimate.effect - radius, estimate.effect + radius),
        p_value=exp(min(0.0, log_p)),
    )
