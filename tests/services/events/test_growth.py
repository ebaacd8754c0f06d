"""Ratios of numbers, where there are any."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.growth import Ratio, attainment, change

numbers = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(
    ("current", "previous", "ratio"), [(6, 4, 0.5), (4, 8, -0.5), (0, 5, -1), (5, 5, 0), (-1, 2, -1.5)]
)
def test_change_is_the_difference_in_parts_of_what_was(current: float, previous: float, ratio: float) -> None:
    assert change(current, previous) == Ratio(ratio)


@given(numbers, numbers)
def test_a_ratio_is_a_finite_number_or_has_a_reason(current: float | None, previous: float | None) -> None:
    for ratio in (change(current, previous), attainment(current or 0.0, previous)):
        assert (ratio.value is None) == bool(ratio.absent_reason)
        assert ratio.value is None or math.isfinite(ratio.value)


def test_the_reason_tells_what_is_missing() -> None:
    assert change(None, 1).absent_reason == "the current value is not defined"
    assert change(1, None).absent_reason == "there is no previous value"
    assert change(1, 0).absent_reason == "the previous value is 0"
    assert attainment(1, None).absent_reason == "there is no target"
    assert attainment(1, 0).absent_reason == "the target is 0"


def test_attainment_is_the_value_in_parts_of_the_target() -> None:
    assert attainment(3, 4) == Ratio(0.75)
