from fractions import Fraction
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.values import Undefined

AMOUNTS = st.lists(st.integers(-(10**12), 10**12), max_size=30)


def exact(values: list[int]) -> tuple[Fraction, Fraction]:
    """Mean and Σ (x − mean)² in fractions."""
    mean = Fraction(sum(values), len(values))
    return mean, sum(((value - mean) ** 2 for value in values), Fraction())


@given(st.lists(AMOUNTS, min_size=1, max_size=5))
def test_parts_add_up_to_the_whole(parts: list[list[int]]) -> None:
    whole = [value for part in parts for value in part]
    added = reduce(add, [Moments.of(np.array(part, float)) for part in parts])
    assert added.n == len(whole)
    if whole:
        mean, m2 = exact(whole)
        largest = max(map(abs, whole))
        assert added.mean == pytest.approx(float(mean), rel=1e-12, abs=1e-12 * largest)
        assert added.m2 == pytest.approx(float(m2), rel=1e-9, abs=1e-12 * float(largest) ** 2)


@given(AMOUNTS.filter(bool))
def test_exact_sums_give_exact_moments(values: list[int]) -> None:
    mean, m2 = exact(values)
    scaled = Moments.of_sums(len(values), sum(values), sum(value**2 for value in values), 1_000_000)
    assert scaled == Moments(len(values), float(mean / 10**6), float(m2 / 10**12))


def test_large_values_do_not_cancel() -> None:
    # NIST StRD, univariate summary statistics, NumAcc4: mean 10000000.2, standard deviation 0.1 (certified).
    values = np.array([10_000_000.2, *([10_000_000.1, 10_000_000.3] * 500)])
    halves = Moments.of(values[:400]) + Moments.of(values[400:])
    variance = halves.variance
    assert not isinstance(variance, Undefined)
    assert halves.mean == pytest.approx(10_000_000.2, rel=1e-15)
    assert variance**0.5 == pytest.approx(0.1, rel=1e-8)


def test_one_observation_has_no_variance() -> None:
    assert Moments(1, 3.0, 0.0).variance == Undefined("fewer than two participants")


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=20), st.data())
def test_joint_parts_add_up_to_the_whole(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(pairs)))
    x, y = np.array(pairs, float).T
    added = JointMoments.of(x[:cut], y[:cut]) + JointMoments.of(x[cut:], y[cut:])
    assert added.covariance == pytest.approx(float(np.cov(x, y)[0, 1]), abs=1e-9)


@pytest.mark.parametrize(("n", "mean", "m2"), [(-1, 0.0, 0.0), (1, float("nan"), 0.0), (1, 0.0, -1.0)])
def test_impossible_moments_are_refused(n: int, mean: float, m2: float) -> None:
    with pytest.raises(ValueError, match="moments have"):
        Moments(n, mean, m2)


def test_correlations_above_one_are_refused() -> None:
    with pytest.raises(ValueError, match="correlate"):
        JointMoments(Moments(3, 0.0, 1.0), Moments(3, 0.0, 1.0), 1.1)
