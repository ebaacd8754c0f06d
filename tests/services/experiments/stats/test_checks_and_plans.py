"""Sample ratio, several questions at once, sample sizes, winsorisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import power_proportions_2indep

from services.experiments.stats import multiplicity, power, sample_ratio
from services.experiments.stats.values import Undefined
from services.experiments.stats.winsorisation import cut_at, winsorised

# Benjamini, Hochberg 1995, the example of thrombolysis: with q = 0.05 their procedure rejects the first four,
# Bonferroni's and Hochberg's the first three.
THROMBOLYSIS = [
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719, 0.6528,
    0.7590, 1.0000,
]  # fmt: skip


def test_the_published_mismatch_is_found() -> None:
    # Kohavi, Tang, Xu, "Trustworthy Online Controlled Experiments", 2020, chapter 21: 821,588 and 815,482
    # users of a design of 50 % each have a p-value of 1.8E-6.
    found = sample_ratio.p_value([821_588, 815_482], [1, 1])
    assert found == pytest.approx(1.8e-6, abs=0.05e-6)


@given(st.lists(st.tuples(st.integers(50, 10_000), st.integers(20, 100)), min_size=2, max_size=6))
def test_sample_ratios_agree_with_scipy(variants: list[tuple[int, int]]) -> None:
    counts, weights = np.array(variants).T
    reference = chisquare(counts, weights / weights.sum() * counts.sum()).pvalue
    assert sample_ratio.p_value(counts.tolist(), weights.tolist()) == pytest.approx(reference, abs=1e-12)


def test_few_participants_have_no_sample_ratio() -> None:
    assert isinstance(sample_ratio.p_value([4, 5], [50, 50]), Undefined)
    assert isinstance(sample_ratio.p_value([0, 0], [50, 50]), Undefined)
    assert isinstance(sample_ratio.p_value([40], [100]), Undefined)


def test_participants_where_none_may_be_are_a_mismatch() -> None:
    assert sample_ratio.p_value([40, 1, 60], [50, 0, 50]) == 0
    assert sample_ratio.p_value([40, 0, 60], [50, 0, 50]) == sample_ratio.p_value([40, 60], [50, 50])


def test_the_published_discoveries_are_made() -> None:
    assert sum(value <= 0.05 for value in multiplicity.benjamini_hochberg(THROMBOLYSIS)) == 4
    assert sum(value <= 0.05 for value in multiplicity.holm(THROMBOLYSIS)) == 3


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjusted_p_values_agree_with_statsmodels(p_values: list[float]) -> None:
    assert multiplicity.holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1])
    reference = multipletests(p_values, method="fdr_bh")[1]
    assert multiplicity.benjamini_hochberg(p_values) == pytest.approx(reference)


def test_nothing_to_adjust_is_nothing() -> None:
    assert multiplicity.holm([]) == multiplicity.benjamini_hochberg([]) == []
    with pytest.raises(ValueError, match="p-values"):
        multiplicity.holm([1.2])


def test_sample_sizes_are_those_r_prints() -> None:
    # R, examples of ?power.prop.test: power.prop.test(p1 = .50, p2 = .75, power = .90) gives n = 76.7.
    assert power.participants_for_proportions(0.5, 0.75, 0.95, 0.9) == 77


@pytest.mark.parametrize(("before", "after"), [(0.2, 0.25), (0.01, 0.012), (0.6, 0.5)])
def test_planned_samples_have_the_power_of_statsmodels(before: float, after: float) -> None:
    n = power.participants_for_proportions(before, after, 0.95, 0.8)
    reached = power_proportions_2indep(after - before, before, n).power
    assert reached == pytest.approx(0.8, abs=2e-3)


def test_means_agree_with_statsmodels() -> None:
    n = power.participants_for_means(12.0, 1.5, 0.95, 0.9)
    assert n == np.ceil(NormalIndPower().solve_power(1.5 / 12, alpha=0.05, power=0.9))
    standard_error = 12 * (2 / n) ** 0.5
    assert power.power_at(1.5, standard_error, 0.95) == pytest.approx(
        NormalIndPower().power(1.5 / 12, n, 0.05)
    )
    assert power.detectable_effect(standard_error, 0.95, 0.9) == pytest.approx(1.5, rel=1e-3)


@pytest.mark.parametrize(
    "plan",
    [
        lambda: power.participants_for_proportions(0, 0.1, 0.95, 0.8),
        lambda: power.participants_for_proportions(0.1, 0.1, 0.95, 0.8),
        lambda: power.participants_for_means(0, 1, 0.95, 0.8),
        lambda: power.participants_for_means(1, 1, 0.95, 1),
        lambda: power.power_at(1, 0, 0.95),
    ],
)
def test_impossible_plans_are_refused(plan: object) -> None:
    with pytest.raises(ValueError, match=r"share|spread|power|standard error"):
        plan()  # type: ignore[operator]


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=40), st.floats(0.01, 1))
def test_a_cut_leaves_its_share_untouched(values: list[float], quantile: float) -> None:
    array = np.array(values)
    cut = cut_at(array, quantile)
    assert np.mean(array <= cut) >= quantile - 1e-12
    smaller = array[array < cut]
    assert len(smaller) / len(array) < quantile
    assert winsorised(array, cut).max() == cut
