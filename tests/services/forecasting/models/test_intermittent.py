import numpy as np
import pytest

from services.forecasting.models import intermittent
from services.forecasting.models.forecast import forecast
from services.forecasting.models.values import Values
from tests.services.forecasting.models.series import daily


def now_and_then(seed: int, chance: float, length: int) -> Values:
    generator = np.random.default_rng(seed)
    comes = generator.random(length) < chance
    return np.where(comes, generator.poisson(4, length), 0).astype(np.float64)


def test_totals_of_intermittent_demand_are_not_biased() -> None:
    ratios = [
        forecast(daily(now_and_then(seed, 0.15, 200)), 30).total.value / (30 * 0.15 * 4) for seed in range(60)
    ]
    assert np.mean(ratios) == pytest.approx(1, abs=0.12)


def test_demand_that_stops_fades() -> None:
    sold = np.concatenate([now_and_then(1, 0.3, 120), np.zeros(60)])
    assert forecast(daily(sold), 7).model == "tsb"
    assert forecast(daily(sold), 7).mean[0] < 0.25 * forecast(daily(sold[:120]), 7).mean[0]


def test_what_is_forecast_is_chance_times_size_by_hand() -> None:
    # Demand of 6 on every other day: whatever the smoothing, the size is 6 and the chance about one half.
    rows = np.tile([0.0, 6.0], 60)[None]
    path = intermittent.tsb().paths(rows, 3).mean[0]
    assert path == pytest.approx([3.0] * 3, rel=0.05)


def test_days_off_do_not_make_demand_intermittent() -> None:
    open_on_four = np.tile([9.0, 8.0, 7.0, 9.0, 0.0, 0.0, 0.0], 12)
    assert not intermittent.is_intermittent(open_on_four, 7)
    assert intermittent.is_intermittent(now_and_then(2, 0.3, 84), 7)
