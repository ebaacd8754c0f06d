from fractions import Fraction
from math import comb, factorial

import numpy as np
import pytest

from services.experiments.stats.bayesian import belief_of_estimate, belief_of_proportions
from services.experiments.stats.proportions import Proportion
from services.experiments.stats.values import Estimate


def beta(a: int, b: int) -> Fraction:
    return Fraction(factorial(a - 1) * factorial(b - 1), factorial(a + b - 1))


def chance(a: tuple[int, int], b: tuple[int, int]) -> Fraction:
    """P(B > A), Miller, "Formulas for Bayesian A/B Testing", 2014, equation 6, in exact fractions."""
    return sum(
        (beta(a[0] + i, a[1] + b[1]) / ((b[1] + i) * beta(1 + i, b[1]) * beta(*a)) for i in range(b[0])),
        Fraction(),
    )


def loss(a: tuple[int, int], b: tuple[int, int]) -> Fraction:
    """E[max(A − B, 0)]: Stucchio 2015, equation for the expected loss, in exact fractions."""
    first, second = Fraction(a[0], sum(a)), Fraction(b[0], sum(b))
    return first * chance(b, (a[0] + 1, a[1])) - second * chance((b[0] + 1, b[1]), a)


@pytest.mark.parametrize(
    "counts", [(0, 0, 0, 0), (10, 1, 10, 2), (40, 0, 35, 35), (120, 12, 90, 17), (7, 7, 200, 3), (1, 0, 1, 1)]
)
def test_shares_agree_with_exact_fractions(counts: tuple[int, int, int, int]) -> None:
    n, x, m, y = counts
    found = belief_of_proportions(Proportion(n, x), Proportion(m, y))
    a, b = (1 + x, 1 + n - x), (1 + y, 1 + m - y)
    assert found.chance_to_win == pytest.approx(float(chance(a, b)), abs=1e-10)
    assert found.expected_loss == pytest.approx(float(loss(a, b)), abs=1e-10)


@pytest.mark.parametrize("participants", [10, 10**6, 10**15])
def test_everybody_of_very_many_may_convert(participants: int) -> None:
    everybody = Proportion(participants, participants)
    found = belief_of_proportions(everybody, everybody)
    assert found.chance_to_win == pytest.approx(0.5, abs=1e-9)
    # Against nobody at all, uniform on [0, 1]: the mean of Beta(n + 1, 1).
    surer = belief_of_proportions(Proportion(0, 0), everybody)
    assert surer.chance_to_win == pytest.approx((participants + 1) / (participants + 2), abs=1e-9)


def test_the_oracle_knows_the_uniform_case() -> None:
    # Two uniform variables: half, and E[max(A − B, 0)] = 1/6.
    assert (chance((1, 1), (1, 1)), loss((1, 1), (1, 1))) == (Fraction(1, 2), Fraction(1, 6))
    assert comb(4, 2) == 6


@pytest.mark.parametrize(
    ("control", "treatment"),
    [
        (Proportion(1_000_000, 50_000), Proportion(1_000_000, 50_400)),
        (Proportion(2_000_000, 11), Proportion(1_000, 1)),
        (Proportion(500, 250), Proportion(900_000, 440_000)),
    ],
)
def test_large_samples_agree_with_drawing(control: Proportion, treatment: Proportion) -> None:
    generator, draws = np.random.default_rng(3), 400_000
    first, second = (
        generator.beta(1 + each.converted, 1 + each.participants - each.converted, draws)
        for each in (control, treatment)
    )
    found = belief_of_proportions(control, treatment)
    assert found.chance_to_win == pytest.approx(np.mean(second > first), abs=4e-3)
    assert found.expected_loss == pytest.approx(np.maximum(first - second, 0).mean(), rel=0.05, abs=1e-9)


@pytest.mark.parametrize("effect", [-3.0, 0.0, 0.5, 9.0])
def test_estimates_agree_with_drawing(effect: float) -> None:
    draws = np.random.default_rng(5).normal(effect, 2.0, 400_000)
    found = belief_of_estimate(Estimate(effect, 2.0, 100))
    assert found.chance_to_win == pytest.approx(np.mean(draws > 0), abs=4e-3)
    assert found.expected_loss == pytest.approx(np.maximum(-draws, 0).mean(), rel=0.02, abs=1e-5)
