"""Verdicts against the comparison written out, at the edges."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.alerts.condition import Verdict
from services.alerts.judging import ConditionKind, Observation, Rule, are_equal, change_ratio, judge

GREATER, LESS, EQUAL, CHANGE, OUTSIDE = ConditionKind
numbers = st.floats(allow_nan=False, width=32)
INF = math.inf


def verdict(rule: Rule, value: float | None, baseline: float | None = None, sample: int = 1) -> Verdict:
    return judge(rule, Observation(value, sample), Observation(baseline, sample)).verdict


@given(numbers, numbers)
def test_thresholds_themselves_do_not_breach(value: float, threshold: float) -> None:
    assert (verdict(Rule(GREATER, threshold), value) is Verdict.BREACH) == (value > threshold)
    assert (verdict(Rule(LESS, threshold), value) is Verdict.BREACH) == (value < threshold)
    assert (verdict(Rule(OUTSIDE, abs(threshold)), value) is Verdict.BREACH) == (abs(value) > abs(threshold))


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (Rule(GREATER, 5, 3), 5.1, Verdict.BREACH),
        (Rule(GREATER, 5, 3), 5, Verdict.BETWEEN),
        (Rule(GREATER, 5, 3), 3.1, Verdict.BETWEEN),
        (Rule(GREATER, 5, 3), 3, Verdict.CLEAR),
        (Rule(LESS, 3, 5), 2.9, Verdict.BREACH),
        (Rule(LESS, 3, 5), 4.9, Verdict.BETWEEN),
        (Rule(LESS, 3, 5), 5, Verdict.CLEAR),
        (Rule(OUTSIDE, 4, 3), -3.5, Verdict.BETWEEN),
    ],
)
def test_a_breach_is_over_beyond_the_recovery_threshold(rule: Rule, value: float, expected: Verdict) -> None:
    assert verdict(rule, value) is expected


@pytest.mark.parametrize(
    ("value", "baseline", "expected"),
    [(5, 0, INF), (-5, 0, -INF), (0, 0, 0), (5, 10, -0.5), (-5, -10, 0.5), (0, 10, -1), (10, -10, 2)],
)
def test_changes_are_relative_to_the_size_of_the_baseline(
    value: float, baseline: float, expected: float
) -> None:
    assert change_ratio(value, baseline) == expected
    rises, falls = Rule(CHANGE, 0.4), Rule(CHANGE, -0.4)
    assert (verdict(rises, value, baseline) is Verdict.BREACH) == (expected > 0.4)
    assert (verdict(falls, value, baseline) is Verdict.BREACH) == (expected < -0.4)


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "expected"),
    [
        (0.1 + 0.2, 0.3, 0, True),
        (1e9, 1e9 + 0.5, 0, True),
        (1e9, 1e9 + 2, 0, False),
        (5, 5.4, 0.5, True),
        (5, 5.6, 0.5, False),
        (0, 1e-300, 0, False),
        (INF, INF, 0, True),
        (INF, 1e308, 1e308, False),
    ],
)
def test_equality_allows_noise_and_the_tolerance(
    left: float, right: float, tolerance: float, *, expected: bool
) -> None:
    assert are_equal(left, right, tolerance) == are_equal(right, left, tolerance) == expected
    assert (verdict(Rule(EQUAL, right, tolerance=tolerance), left) is Verdict.BREACH) == expected


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_not_there_is_no_data(missing: float | None) -> None:
    for kind in ConditionKind:
        assert verdict(Rule(kind, 1.0), missing, 5.0) is Verdict.NO_DATA
    assert verdict(Rule(CHANGE, 1.0), 5.0, missing) is Verdict.NO_DATA
    assert judge(Rule(CHANGE, 1.0), Observation(5.0, 1), None).verdict is Verdict.NO_DATA


def test_small_samples_are_not_judged_nor_compared_with() -> None:
    rule = Rule(CHANGE, 1.0, minimum_sample=10)
    assert judge(rule, Observation(5.0, 10), Observation(1.0, 10)).verdict is Verdict.BREACH
    assert judge(rule, Observation(5.0, 9), Observation(1.0, 10)).verdict is Verdict.TOO_FEW
    assert judge(rule, Observation(5.0, 10), Observation(1.0, 9)).verdict is Verdict.TOO_FEW
