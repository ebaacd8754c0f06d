"""Lengths of time as people read them."""

import pytest

from gateway.dashboard.page import durations


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.0421, "0.0421 s"),
        (59.4, "59.4 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (3_599.7, "1 h"),
        (3_660, "1 h 1 min"),
        (86_399, "1 d"),
        (100_000, "1 d 4 h"),
        (366 * 86_400, "366 d"),
    ],
)
def test_two_units_are_enough(seconds: float, text: str) -> None:
    assert durations.spelled(seconds) == text
