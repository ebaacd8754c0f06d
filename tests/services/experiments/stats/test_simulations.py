"""False-positive rates and coverage of the methods, simulated with fixed seeds."""

import numpy as np
import pytest

from services.experiments.stats.analysis import Choices, analyse_means, analyse_ratios
from services.experiments.stats.cuped import adjusted
from services.experiments.stats.means import compare_means
from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.multiplicity import holm
from services.experiments.stats.proportions import Proportion, compare_proportions
from services.experiments.stats.ratios import compare_ratios
from services.experiments.stats.sequential import Sequential
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


def test_cuped_keeps_its_level_and_narrows() -> None:
    generator = np.random.default_rng(14)
    outcomes, widths = [], []
    for _ in range(RUNS):
        before = generator.exponential(10, (2, 200))
        after = before + generator.normal(0, 5, (2, 200))
        joint = [JointMoments.of(x, y) for x, y in zip(before, after, strict=True)]
        plain = compare_means(joint[0].y, joint[1].y, 0.95)
        control, treatment = adjusted(joint)
        better = compare_means(control, treatment, 0.95)
        outcomes.append(outcome(better, 0.0))
        assert isinstance(better.interval, Interval)
        assert isinstance(plain.interval, Interval)
        widths.append(
            (better.interval.upper - better.interval.lower) / (plain.interval.upper - plain.interval.lower)
        )
    check(outcomes)
    # √(1 − ρ²), with ρ² = 100 / 125.
    assert np.mean(widths) == pytest.approx(0.2**0.5, rel=0.02)


@pytest.mark.parametrize(("before", "after"), [(0.02, 0.025), (0.4, 0.44), (0.9, 0.93)])
def test_intervals_of_shares_cover_a_true_difference(before: float, after: float) -> None:
    generator = np.random.default_rng(15)
    counts = generator.binomial(2_000, (before, after), (RUNS, 2))
    covered = [
        interval.lower <= after - before <= interval.upper
        for a, b in counts
        for interval in [
            compare_proportions(Proportion(2_000, int(a)), Proportion(2_000, int(b)), 0.95).interval
        ]
        if isinstance(interval, Interval)
    ]
    assert LEAST <= 1 - np.mean(covered) <= MOST


def test_relative_intervals_cover_a_true_lift() -> None:
    generator = np.random.default_rng(16)
    covered = []
    for _ in range(RUNS):
        control, treatment = generator.gamma(2, 5, 400), generator.gamma(2, 6, 400)
        interval = compare_means(Moments.of(control), Moments.of(treatment), 0.95).relative_interval
        assert isinstance(interval, Interval)
        covered.append(interval.lower <= 0.2 <= interval.upper)
    assert LEAST <= 1 - np.mean(covered) <= MOST


def test_holm_keeps_the_level_over_a_family() -> None:
    generator = np.random.default_rng(17)
    rejected = [min(holm(generator.uniform(size=6).tolist())) <= 0.05 for _ in range(RUNS)]
    assert LEAST <= np.mean(rejected) <= MOST


def test_looking_every_day_at_means_and_ratios_rejects_no_more_than_the_level() -> None:
    # Revenue as it is: one in ten pays, a lognormal amount. Sixty looks, the first with 100 people a variant.
    generator = np.random.default_rng(18)
    choices = Choices(tuned_participants=12_000)
    rejected = {"means": 0, "ratios": 0}
    runs = 600
    for _ in range(runs):
        joint = [JointMoments.of(np.zeros(0), np.zeros(0))] * 2
        ever = dict.fromkeys(rejected, False)
        for _day in range(60):
            for variant in (0, 1):
                orders = generator.binomial(1, 0.1, 100) * (1 + generator.poisson(1, 100))
                joint[variant] += JointMoments.of(
                    orders * generator.lognormal(3, 1, 100), orders.astype(float)
                )
            for name, found in (
                ("means", analyse_means(joint[0].x, joint[1].x, choices)),
                ("ratios", analyse_ratios(joint[0], joint[1], choices)),
            ):
                if isinstance(found.sequential, Sequential):
                    ever[name] = ever[name] or found.sequential.p_value <= 0.05
        for name, did in ever.items():
            rejected[name] += did
    assert all(count / runs <= 0.05 for count in rejected.values()), rejected
