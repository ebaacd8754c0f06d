from math import exp, log, sqrt

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from services.experiments.stats.sequential import always_valid, mixture_scale
from services.experiments.stats.values import Estimate


def radius(observations: int, rho: float, alpha: float) -> float:
    """Theorem 2.2 as printed, σ = 1: √(2 (tρ² + 1) / (t²ρ²) · log(√(tρ² + 1) / α))."""
    spent = observations * rho**2
    return sqrt(2 * (spent + 1) / (observations**2 * rho**2) * log(sqrt(spent + 1) / alpha))


@pytest.mark.parametrize("observations", [50, 5_000, 2_000_000])
def test_the_interval_is_that_of_the_paper(observations: int) -> None:
    rho = mixture_scale(5_000, 0.95)
    estimate = Estimate(0.3, 1 / sqrt(observations), observations)
    interval = always_valid(estimate, rho, 0.95).interval
    half = radius(observations, rho, 0.05)
    assert (interval.lower, interval.upper) == pytest.approx((0.3 - half, 0.3 + half))


@pytest.mark.parametrize("tuned", [100, 5_000, 1_000_000])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_the_interval_is_narrowest_where_it_is_tuned(tuned: int, level: float) -> None:
    best = minimize_scalar(
        lambda log_rho: radius(tuned, exp(log_rho), 1 - level),
        bounds=(-15, 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert mixture_scale(tuned, level) == pytest.approx(exp(best.x), rel=1e-4)


@pytest.mark.parametrize("effect", [0.01, 0.04, 0.06])
def test_the_p_value_is_the_level_at_which_the_interval_ends_at_zero(effect: float) -> None:
    estimate, rho = Estimate(effect, 0.01, 9_000), mixture_scale(5_000, 0.95)
    p_value = always_valid(estimate, rho, 0.95).p_value
    if p_value == 1:
        assert always_valid(estimate, rho, 1e-9).interval.lower < 0
    else:
        assert always_valid(estimate, rho, 1 - p_value).interval.lower == pytest.approx(0, abs=1e-8)


def test_strong_evidence_does_not_overflow() -> None:
    assert always_valid(Estimate(1e6, 1e-3, 10), 1.0, 0.95).p_value == 0


def peeked(generator: np.random.Generator, looks: np.ndarray, ratio: float) -> tuple[bool, bool]:
    """Whether a year's daily looks at an A/A test of shares ever rejected: sequentially, by the plain z."""
    rho = mixture_scale(int(looks[-1]), 0.95)
    counts = generator.binomial(np.diff(looks, prepend=0)[:, None].repeat(2, 1) // 2, ratio).cumsum(0)
    ever = plain = False
    for n, (control, treatment) in zip(looks // 2, counts, strict=True):
        before, after = control / n, treatment / n
        variance = before * (1 - before) / n + after * (1 - after) / n
        if min(control, treatment) < 5:  # as experiments' results do
            continue
        estimate = Estimate(after - before, sqrt(variance), 2 * int(n))
        ever = ever or always_valid(estimate, rho, 0.95).p_value < 0.05
        plain = plain or abs(after - before) > 1.96 * sqrt(variance)
    return ever, plain


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [0.02, 0.3])
def test_looking_every_day_rejects_no_more_than_the_level(ratio: float) -> None:
    generator = np.random.default_rng(20_260_101)
    looks = np.arange(1, 61) * 1_000
    rejected = np.array([peeked(generator, looks, ratio) for _ in range(2_000)]).mean(0)
    # Three standard errors above 0.05 would be 0.0646; the plain test shows that this can fail.
    assert rejected[0] <= 0.05
    assert rejected[1] > 0.2
