"""Anomalies of series whose truth is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.forecasting.anomalies.detection import (
    Spacing,
    detect_seasonal,
    detect_zscore,
    largest_zscore,
)
from services.forecasting.anomalies.expectation import Smoothing, expect, squeeze, stretch


def shop(days: int, seed: int = 1) -> np.ndarray:
    """Sales with a week: closed on Saturdays, double on Thursdays."""
    week = np.array([1.0, 1.1, 1.2, 2.0, 1.3, 0.0, 0.7])
    return 1_000 * np.resize(week, days) * np.exp(np.random.default_rng(seed).normal(0, 0.1, days))


def anomalies(values: np.ndarray, threshold: float = 3.0, *, is_count: bool = False) -> list[tuple[int, int]]:
    found = detect_seasonal(values, Spacing.DAY, threshold, is_count=is_count)
    return [(each.start, each.end) for each in found.anomalies]


def test_a_drop_and_a_spike_are_found_and_told_apart() -> None:
    values = shop(120)
    values[80] *= 0.3
    values[101] *= 3
    found = detect_seasonal(values, Spacing.DAY, 4.0, is_count=False)
    assert [(each.start, each.end) for each in found.anomalies] == [(80, 80), (101, 101)]
    low, high = (found.points[at] for at in (80, 101))
    assert low.score is not None
    assert low.lower is not None
    assert high.score is not None
    assert low.score < -4 < 4 < high.score
    assert values[80] < low.lower < (low.expected or 0)


def test_days_closed_each_week_are_no_anomalies() -> None:
    values = shop(200)
    closed = {at for at in range(200) if at % 7 == 5}
    assert not closed & {at for start, end in anomalies(values) for at in range(start, end + 1)}


def test_days_in_a_row_are_one_anomaly() -> None:
    values = shop(120)
    values[[78, 79, 80]] *= 0.1
    assert anomalies(values, 4.0) == [(78, 80)]


def test_a_day_without_a_value_is_not_judged_and_moves_nothing() -> None:
    values = shop(120)
    values[77] = np.nan
    found = detect_seasonal(values, Spacing.DAY, 3.0, is_count=False)
    assert (found.points[77].score, found.points[77].is_anomalous) == (None, False)
    assert found.points[77].expected is not None
    assert found.judged == 120 - 14 - 14 - 1


def test_a_new_level_is_learnt_after_a_week() -> None:
    values = shop(160)
    values[90:] *= 4
    found = anomalies(values, 4.0)
    assert found[0][0] == 90
    assert all(end < 100 for _, end in found)


@given(cut=st.integers(30, 118), seed=st.integers(0, 5))
def test_nothing_later_changes_what_was_expected(cut: int, seed: int) -> None:
    values, other = shop(120, seed), shop(120, seed)
    other[cut:] = 7.0
    mine, theirs = (expect(each, Spacing.DAY.smoothing, is_count=True) for each in (values, other))
    np.testing.assert_array_equal(mine.expected[: cut + 1], theirs.expected[: cut + 1])
    np.testing.assert_array_equal(mine.deviation[: cut + 1], theirs.deviation[: cut + 1])


def test_the_recursion_is_holt_winters() -> None:
    """Winters 1960 in its error-correction form, written out for one season and no bound."""
    values = shop(60) + 500
    y = [math.log1p(value) for value in values]
    level = float(np.median(y[:14]))
    season = [float(np.median([y[phase] - level, y[phase + 7] - level])) for phase in range(7)]
    predicted = []
    for at in range(14, 60):
        predicted.append(level + season[at % 7])
        error = y[at] - predicted[-1]
        level += 0.3 * error
        season[at % 7] += 0.2 * 0.7 * error
    smoothing = Smoothing((7,), 56, level_weight=0.3, season_weight=0.2, bound=1e9)
    found = expect(values, smoothing, is_count=False)
    assert found.expected[28:].tolist() == pytest.approx(predicted[14:])


def test_seldom_counts_scatter_as_poisson_does() -> None:
    generator = np.random.default_rng(11)
    events = [len(anomalies(generator.poisson(0.5, 365).astype(float), is_count=True)) for _ in range(20)]
    assert sum(events) / (20 * 12) < 0.1  # without the floor several a month


@pytest.mark.parametrize("seed", range(5))
def test_of_counts_nothing_below_zero_is_expected(seed: int) -> None:
    values = np.random.default_rng(seed).poisson(0.1, 200).astype(float)
    points = detect_seasonal(values, Spacing.DAY, 3.0, is_count=True).points
    judged = [(each.lower, each.expected, each.upper) for each in points if each.expected is not None]
    assert judged
    for lower, expected, upper in judged:
        assert lower is not None
        assert upper is not None
        assert 0 <= lower <= expected <= upper


def test_hours_have_a_day_and_a_week() -> None:
    generator = np.random.default_rng(5)
    hours = np.arange(24 * 7 * 6)
    level = 2 + np.sin(hours * 2 * np.pi / 24) + 0.5 * ((hours // 24) % 7 >= 5)
    values = np.exp(level + generator.normal(0, 0.05, hours.size)) * 100
    values[900] *= 0.4
    found = detect_seasonal(values, Spacing.HOUR, 5.0, is_count=False)
    assert [(each.start, each.end) for each in found.anomalies] == [(900, 900)]


@pytest.mark.parametrize("values", [[], [1.0], [math.nan] * 50, [3.0] * 20])
def test_too_little_to_judge_is_said(values: list[float]) -> None:
    found = detect_seasonal(np.array(values, float), Spacing.DAY, 3.0, is_count=True)
    assert (found.judged, found.alerts_per_month, found.anomalies) == (0, None, ())
    assert found.reason


def test_a_constant_is_expected_to_go_on() -> None:
    values = np.full(60, 5.0)
    assert anomalies(values) == []
    values[50] = 6.0
    assert anomalies(values) == [(50, 50)]


def test_alerts_per_month_are_all_alerts_over_what_was_judged() -> None:
    values = shop(28 + 61)
    values[[41, 60, 80]] *= 0.1
    found = detect_seasonal(values, Spacing.DAY, 4.0, is_count=False)
    assert found.judged == 61
    assert found.alerts_per_month == pytest.approx(3 / 61 * 30.4375)


def test_squeezing_is_undone_by_stretching() -> None:
    values = np.array([-1e9, -1.0, -1e-12, 0.0, 1e-12, 0.5, 3.0, 1e12])
    assert stretch(squeeze(values)).tolist() == pytest.approx(values.tolist())


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 30])
def test_no_z_score_exceeds_its_bound(n: int) -> None:
    # One value unlike all others reaches it exactly.
    values = np.ones(n)
    values[-1] = 1e6
    found = detect_zscore(values, Spacing.DAY, 100.0)
    assert found.points[-1].score == pytest.approx(largest_zscore(n))
    drawn = np.random.default_rng(n).standard_cauchy((200, n))
    scores = (drawn - drawn.mean(axis=1, keepdims=True)) / drawn.std(axis=1, ddof=1, keepdims=True)
    assert np.abs(scores).max() <= largest_zscore(n) + 1e-9


def test_a_z_score_that_cannot_fire_says_so() -> None:
    # 7 points: 6 ÷ √7 = 2.27.
    [warning] = detect_zscore(np.array([1.0, 2, 3, 2, 1, 2, 9]), Spacing.DAY, 3.0).warnings
    assert "2.27" in warning
    assert detect_zscore(np.array([1.0, 2, 3, 2, 1, 2, 9]), Spacing.DAY, 2.0).warnings == ()
    reached = detect_zscore(np.array([0.0, 0, 0, 1]), Spacing.DAY, 1.5)  # 3 ÷ √4
    assert (len(reached.anomalies), reached.warnings) == (1, ())


def test_z_scores_of_equal_values_are_undefined() -> None:
    for value in (2.0, 0.1):  # the mean of seven times 0.1 is not 0.1, in binary
        found = detect_zscore(np.full(7, value), Spacing.DAY, 2.0)
        assert (found.judged, found.alerts_per_month) == (0, None)
        assert "deviation" in found.reason
