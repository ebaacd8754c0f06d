"""False-positive rates and coverage of the methods for one look, simulated with fixed seeds."""

import numpy as np
import pytest

from services.experiments.stats.means import compare_means
from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.proportions import Proportion, compare_proportions
from services.experiments.stats.ratios import compare_ratios
from services.experiments.stats.values import Comparison, Interval

pytestmark = pytest.mark.slow
RUNS = 4_000
# 0.05 ± four standard errors of a simulation of this many runs.
LEAST, MOST = 0.036, 0.064


def outcome(compared: Comparison, truth: float) -> tuple[bool, bool]:
    assert isinstance(compared.p_value, float)
    assert isinstance(compared.interval, Interval)
    return compared.p_value <= 0.05, compared.interval.lower <= truth <= compared.interval.upper


def check(outcomes: list[tuple[bool, bool]]) -> None:
    rejected, covered = np.array(outcomes).mean(0)
    assert LEAST <= rejected <= MOST
    assert LEAST <= 1 - covered <= MOST


def test_shares_keep_their_level() -> None:
    generator = np.random.default_rng(11)
    counts = generator.binomial(3_000, 0.05, (RUNS, 2))
    check(
        [
            outcome(compare_proportions(Proportion(3_000, int(a)), Proportion(3_000, int(b)), 0.95), 0.0)
            for a, b in counts
        ]
    )


def test_means_with_unequal_variances_keep_their_level() -> None:
    generator = np.random.default_rng(12)
    check(
        [
            outcome(
                compare_means(
                    Moments.of(generator.normal(5, 1, 30)), Moments.of(generator.normal(5, 4, 12)), 0.95
                ),
                0.0,
            )
            for _ in range(RUNS)
        ]
    )


def test_ratios_with_many_orders_a_person_keep_their_level() -> None:
    generator = np.random.default_rng(13)

    def drawn() -> JointMoments:
        orders = (1 + generator.poisson(3, 600)).astype(np.float64)
        # A person's orders resemble each other: taking orders as independent would fail this.
        return JointMoments.of(orders * generator.gamma(4, 5, 600), orders)

    check([outcome(compare_ratios(drawn(), drawn(), 0.95), 0.0) for _ in range(RUNS)])
