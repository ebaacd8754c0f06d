import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from services.forecasting.models import intervals
from services.forecasting.models.intervals import Spread
from services.forecasting.models.values import Values


def spread(errors: Values) -> Spread:
    return intervals.spread_of(errors, side_by_side(errors), 1)


def side_by_side(errors: Values) -> NDArray[np.int64]:
    """Return how far after the series' end the errors lie if each origin begins where the one before ends."""
    return np.arange(errors.size).reshape(errors.shape) - errors.size


def test_half_widths_are_quantiles_of_the_sizes_widened_as_by_students_t() -> None:
    errors = np.random.default_rng(1).normal(0, 3, (8, 30))
    found = spread(errors)
    assert found.power == pytest.approx(0.1)
    size = np.quantile(np.abs(errors) / np.arange(1, 31) ** 0.1, 0.8)
    widened = size * stats.t.ppf(0.9, 5) / stats.norm.ppf(0.9)
    assert found.half_widths(0.8, 30) == pytest.approx(widened * np.arange(1, 31) ** 0.1)


def test_errors_of_random_walks_widen_by_about_the_root_of_the_step() -> None:
    walks = np.cumsum(np.random.default_rng(2).normal(0, 1, (400, 30)), axis=1)
    assert spread(walks).power == pytest.approx(0.5, abs=0.11)


def test_beyond_the_back_test_intervals_widen_at_least_by_the_root() -> None:
    found = spread(np.random.default_rng(3).normal(0, 1, (8, 10)))
    half = found.half_widths(0.8, 40)
    assert half[39] == pytest.approx(half[9] * 2)


def test_the_interval_of_a_total_is_that_of_totals() -> None:
    errors = np.random.default_rng(4).normal(0.5, 1, (8, 20))
    expected = np.sqrt((errors.sum(axis=1) ** 2).mean()) * stats.t.ppf(0.975, 8)
    assert spread(errors).total_half_width(0.95, 20) == pytest.approx(expected)


def test_places_that_never_missed_have_no_width_and_narrow_no_other() -> None:
    errors = np.random.default_rng(5).normal(0, 1, (8, 28))
    places = side_by_side(errors) % 7
    closed = np.where(places == 5, 0.0, errors)
    half = intervals.spread_of(closed, side_by_side(errors), 7).half_widths(0.8, 14)
    assert half[[5, 12]].tolist() == [0.0, 0.0]
    known = np.abs(closed[:, places[0] != 5]) / (np.arange(1, 29)[places[0] != 5] ** 0.1)
    assert half[0] == pytest.approx(np.quantile(known, 0.8) * stats.t.ppf(0.9, 5) / stats.norm.ppf(0.9))


def test_coverage_judges_each_origin_by_the_others() -> None:
    errors = np.ones((5, 4))
    errors[2] = 100.0
    (found,) = intervals.coverage(errors, side_by_side(errors), 1, (0.8,))
    assert found.covered_ratio == pytest.approx(4 / 5)
