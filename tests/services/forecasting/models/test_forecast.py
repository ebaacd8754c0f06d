import re
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.forecasting.models.forecast import forecast, problems
from services.forecasting.models.values import Calendar, Forecast, Series, Step, Values
from tests.services.forecasting.models.series import MONDAY, WEEK, daily, weekly_counts

LEVELS = (0.5, 0.8, 0.95)


@st.composite
def questions(draw: st.DrawFn) -> tuple[Series, int]:
    """A series of any step and length, with holes, and a horizon of up to twice its length."""
    length = draw(st.sampled_from([1, 2, 7, 8, 9, 11, 14, 20, 21, 30, 48, 75, 90, 160, 340]))
    usual = st.one_of(st.integers(0, 20).map(float), st.floats(0, 1e9), st.sampled_from([0.0, 7.0, np.nan]))
    values = draw(arrays(np.float64, length, elements=usual, fill=st.sampled_from([0.0, 7.0, np.nan])))
    values[draw(st.integers(0, length - 1))] = 5.0
    if draw(st.booleans()):
        values = np.cumsum(np.nan_to_num(values))
    return Series(values, draw(st.sampled_from(Step)), MONDAY), draw(st.integers(1, 2 * length))


@given(questions())
@settings(max_examples=150, deadline=None)
def test_a_forecast_is_finite_in_bounds_and_adds_up(question: tuple[Series, int]) -> None:
    series, horizon = question
    made = forecast(series, horizon, LEVELS)
    assert made.mean.shape == (horizon,)
    parts = made.parts.level + made.parts.trend + made.parts.season + made.parts.holiday
    assert np.allclose(np.maximum(parts, 0), made.mean, rtol=1e-9, atol=1e-9 * (1 + np.abs(parts).max()))
    assert made.total.value == pytest.approx(made.mean.sum())
    for band, total in zip(made.bands, made.total.intervals, strict=True):
        assert np.isfinite(band.upper).all()
        assert (band.lower >= 0).all()
        assert (band.lower <= made.mean).all()
        assert (made.mean <= band.upper).all()
        assert 0 <= total.lower <= made.total.value <= total.upper < np.inf


def is_refused(values: Values, horizon: int, levels: tuple[float, ...] = (0.8,)) -> list[str]:
    found = problems(daily(values), horizon, levels)
    with pytest.raises(ValueError, match=re.escape(found[0][1])):
        forecast(daily(values), horizon, levels)
    return [field for field, _ in found]


def test_what_cannot_be_forecast_is_refused_naming_the_field() -> None:
    assert is_refused(np.array([]), 1) == ["points"]
    assert is_refused(np.array([1, np.inf, 2]), 1) == ["points"]
    assert is_refused(np.full(5, np.nan), 1) == ["points"]
    assert is_refused(np.array([1, -1e101]), 1) == ["points"]
    assert is_refused(np.ones(10), 21) == ["horizon"]
    assert is_refused(np.ones(10), 0) == ["horizon"]
    assert is_refused(np.ones(10), 5, (0.8, 1.0)) == ["levels"]
    assert is_refused(np.ones(10), 5, (0.8, 1 - 1e-9)) == ["levels"]
    assert is_refused(np.full(5, np.nan), 11, ()) == ["points", "horizon", "levels"]


def warned(made: Forecast, words: str) -> bool:
    return any(words in warning for warning in made.warnings)


def test_a_few_values_give_their_mean_with_a_wide_interval_and_a_warning() -> None:
    made = forecast(daily(np.array([10.0, 12, 14, 8, 11])), 3)
    assert made.model == "mean"
    assert made.mean == pytest.approx([11.0] * 3)
    assert made.back_test is None
    assert warned(made, "only 5 values")
    assert warned(forecast(daily(np.array([10.0])), 2), "only 1 value:")
    alone = forecast(daily(np.array([10.0])), 2).bands[0]
    assert alone.upper[0] - alone.lower[0] > 20


def test_a_constant_series_stays_and_says_that_nothing_tells_how_far_it_may_move() -> None:
    made = forecast(daily(np.full(90, 7.0)), 30)
    assert made.mean == pytest.approx([7.0] * 30)
    assert made.back_test is not None
    assert made.back_test.errors.mase is None
    assert warned(made, "constant")


def test_missing_days_are_filled_from_their_weekday_and_said() -> None:
    values = np.tile(100 * WEEK, 13)
    with_holes = values.copy()
    with_holes[[20, 33, 34, 60]] = np.nan
    made = forecast(daily(with_holes), 14)
    assert made.mean == pytest.approx(forecast(daily(values), 14).mean)
    assert warned(made, "4 of 91 values are missing")


def test_a_hole_of_a_year_leaves_what_came_after_it() -> None:
    after = weekly_counts(np.random.default_rng(8), 50, 90)
    old = np.concatenate([np.full(90, 5000.0), np.full(365, np.nan), after])
    made = forecast(daily(old), 30)
    assert made.mean == pytest.approx(forecast(daily(after), 30).mean)
    assert warned(made, "a hole of 365 days")


def test_a_weekly_shape_without_noise_goes_on() -> None:
    made = forecast(daily(np.tile(100 * WEEK, 13)), 14)
    assert made.mean == pytest.approx(np.tile(100 * WEEK, 2))
    assert made.parts.season[5] - made.parts.season[1] == pytest.approx(-40)
    assert made.back_test is not None
    assert made.back_test.errors.mean_absolute_error == pytest.approx(0, abs=1e-9)


def test_a_steady_line_is_followed_by_a_trend_and_the_reply_says_why() -> None:
    made = forecast(daily(100 + 2 * np.arange(90.0)), 30)
    assert made.mean == pytest.approx(100 + 2.0 * np.arange(90, 120), rel=0.02)
    assert "less error in the back-test than median_mix" in made.why
    assert made.back_test is not None
    assert made.back_test.errors.mean_absolute_error < made.back_test.seasonal_naive.mean_absolute_error


def test_ratios_stay_below_one_and_sums_may_fall_below_zero_where_allowed() -> None:
    near_one = 1 - np.random.default_rng(9).random(90) / 100
    ratio = forecast(Series(near_one, Step.DAY, MONDAY, upper_bound=1.0), 30)
    assert max(band.upper.max() for band in ratio.bands) <= 1
    below = forecast(daily(np.random.default_rng(9).normal(-5, 1, 90), lower_bound=None), 30)
    assert below.mean.max() < 0


def test_nothing_is_expected_on_closures_and_they_teach_nothing() -> None:
    values = np.tile(100 * WEEK, 13)
    days = [MONDAY + timedelta(days=day) for day in (30, 31, 92)]
    values[[30, 31]] = 0
    made = forecast(daily(values), 7, (0.8,), Calendar(closures=frozenset(days)))
    assert made.mean == pytest.approx(np.where(np.arange(7) == 1, 0, 100 * WEEK))
    assert made.bands[0].upper[1] == 0
    assert made.parts.holiday[1] == pytest.approx(-110)


def test_a_coming_holiday_is_what_holidays_were_beside_their_weekdays() -> None:
    values = np.tile(100 * WEEK, 13)
    holidays = frozenset(MONDAY + timedelta(days=day) for day in (30, 60, 93))
    values[[30, 60]] *= 1.5
    made = forecast(daily(values), 7, (0.8,), Calendar(holidays=holidays))
    assert made.mean == pytest.approx(np.where(np.arange(7) == 2, 1.5, 1) * 100 * WEEK)
    unknown = Calendar(holidays=frozenset([MONDAY + timedelta(days=93)]))
    assert warned(forecast(daily(values), 7, (0.8,), unknown), "none in the history")


def test_a_weekday_that_was_always_zero_stays_zero_while_the_others_grow() -> None:
    values = weekly_counts(np.random.default_rng(10), 100 + np.arange(91.0), 91)
    values[5::7] = 0
    made = forecast(daily(values), 14)
    assert made.mean[[5, 12]].tolist() == [0.0, 0.0]
    assert made.bands[-1].upper[5] == 0


@pytest.mark.parametrize(("step", "period"), [(Step.HOUR, 168), (Step.MONTH, 12), (Step.WEEK, 52)])
def test_seasons_of_other_steps_are_found(step: Step, period: int) -> None:
    shape = 100 + 60 * np.sin(2 * np.pi * np.arange(4 * period) / period)
    ahead = 100 + 60 * np.sin(2 * np.pi * np.arange(4 * period, 4 * period + period // 2) / period)
    noise = np.random.default_rng(11).normal(0, 2, 4 * period)
    made = forecast(Series(shape + noise, step, date(2020, 1, 6)), period // 2)
    assert np.abs(made.mean - ahead).mean() < 10


def test_hours_know_the_day_of_the_week_after_two_weeks_and_say_so_before() -> None:
    week = np.repeat(100 * WEEK, 24) * np.tile(1 + 0.5 * np.sin(2 * np.pi * np.arange(24) / 24), 7)
    hours = np.tile(week, 3)
    assert forecast(Series(hours[: 16 * 24], Step.HOUR, MONDAY), 48).mean == pytest.approx(
        hours[16 * 24 : 18 * 24], rel=0.01
    )
    assert warned(forecast(Series(hours[: 9 * 24], Step.HOUR, MONDAY), 48), "weekly pattern")
