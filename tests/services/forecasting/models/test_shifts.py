import numpy as np
import pytest

from services.forecasting.models.forecast import forecast
from services.forecasting.models.shifts import last_shift
from services.forecasting.models.values import Forecast
from tests.services.forecasting.models.series import daily, weekly_counts


def forecast_after_launch(days_ago: int) -> Forecast:
    level = np.where(np.arange(90) < 90 - days_ago, 100.0, 180.0)
    return forecast(daily(weekly_counts(np.random.default_rng(days_ago), level, 90)), 28)


@pytest.mark.parametrize("days_ago", [14, 20, 27, 35])
def test_after_a_lasting_shift_the_new_level_is_forecast(days_ago: int) -> None:
    after = forecast_after_launch(days_ago)
    expected = 28 * 180 * np.mean([1.0, 1.1, 1.1, 1.05, 1.0, 0.7, 0.6])
    assert after.total.value == pytest.approx(expected, rel=0.08)
    assert any("the level changed" in warning for warning in after.warnings)


def test_the_place_of_a_shift_is_found_to_the_day() -> None:
    values = weekly_counts(np.random.default_rng(5), np.where(np.arange(90) < 66, 100.0, 180.0), 90)
    shift = last_shift(values, 7)
    assert shift is not None
    assert abs(shift.position - 66) <= 1


def test_a_week_at_another_level_is_doubted_not_followed() -> None:
    after = forecast_after_launch(7)
    assert any("the last week is unlike" in warning for warning in after.warnings)
    assert not any("the level changed" in warning for warning in after.warnings)


def test_noise_and_steady_growth_are_no_shift() -> None:
    generator = np.random.default_rng(6)
    for _ in range(200):
        assert last_shift(weekly_counts(generator, 100, 90), 7) is None
    assert last_shift(weekly_counts(generator, 100 * 1.01 ** np.arange(90.0), 90), 7) is None
