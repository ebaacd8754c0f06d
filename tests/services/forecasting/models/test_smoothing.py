import numpy as np
import pytest
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.holtwinters import Holt, SimpleExpSmoothing

from services.forecasting.models import candidates, smoothing
from services.forecasting.models.values import Values


def walks(seed: int, rows: int = 3, length: int = 60) -> Values:
    return 50 + np.cumsum(np.random.default_rng(seed).normal(0.3, 2, (rows, length)), axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_fitted_levels_are_near_those_statsmodels_finds(seed: int) -> None:
    rows = walks(seed)
    levels, _ = smoothing.fitted_levels(rows)
    for row, level in zip(rows, levels, strict=True):
        reference = SimpleExpSmoothing(row, initialization_method="estimated").fit().forecast(1)[0]
        assert level == pytest.approx(reference, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_theta_is_near_that_of_statsmodels(seed: int) -> None:
    rows = walks(seed)
    paths = candidates.theta_profile(1).paths(rows, 6).mean
    for row, path in zip(rows, paths, strict=True):
        fitted = ThetaModel(smoothing.winsorised(row[None])[0], period=1, deseasonalize=False)
        assert path == pytest.approx(np.asarray(fitted.fit(use_mle=False).forecast(6)), rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_the_chosen_damped_trend_misses_no_more_than_that_of_statsmodels(seed: int) -> None:
    row = walks(seed, rows=1, length=80)
    levels, trend = smoothing.damped_trends(row, 3)
    reference = Holt(row[0], damped_trend=True, initialization_method="estimated").fit()
    assert levels + trend[:, 0] == pytest.approx(reference.forecast(1), rel=0.05)


def test_a_damped_trend_by_hand() -> None:
    # On a straight line nothing is ever missed: the level is the last value, the slope 2, and the trend of
    # three steps is 2 phi + 2 phi^2 + 2 phi^3 with the weakest damping of the grid, 0.98.
    row = (10 + 2 * np.arange(300.0))[None]
    levels, trend = smoothing.damped_trends(row, 3)
    assert levels[0] == pytest.approx(608, abs=0.5)
    assert trend[0] == pytest.approx(np.cumsum(2 * 0.98 ** np.arange(1, 4)), rel=0.05)


def test_one_outlier_moves_a_robust_level_no_further_than_one_and_a_half_deviations() -> None:
    usual = np.random.default_rng(1).normal(100, 5, 80)
    spoiled = usual.copy()
    spoiled[-1] = 100_000
    before, after = smoothing.robust_levels(np.stack([usual, spoiled]), 0.1, 14)
    assert abs(after - before) <= 0.1 * 2 * 1.5 * 1.1 * 5


def test_without_outliers_a_robust_level_is_exponential_smoothing() -> None:
    row = 100 + np.tile([1.0, -1.0, 0.5, -0.5], 20)
    level = float(np.median(row[:14]))
    for value in row:
        level += 0.2 * (value - level)
    assert smoothing.robust_levels(row[None], 0.2, 14)[0] == pytest.approx(level)


def test_winsorising_cuts_at_three_scaled_deviations_from_the_median() -> None:
    row = np.array([[1.0, 2, 3, 4, 5, 6, 7, 8, 900]])
    assert smoothing.winsorised(row)[0, -1] == pytest.approx(5 + 3 * 1.4826 * 2)
    assert (smoothing.winsorised(row)[0, :-1] == row[0, :-1]).all()
