from collections.abc import Sequence
from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.overview import daily, insights
from gateway.dashboard.overview.daily import DayValue

FIRST = date(2011, 9, 1)


def days(values: Sequence[float | None], *, open_days: int = 0) -> list[DayValue]:
    closed = len(values) - open_days
    return [
        DayValue(FIRST + timedelta(days=place), value, place < closed) for place, value in enumerate(values)
    ]


@given(st.integers(1, 60), st.integers(0, 1))
def test_a_level_is_compared_with_the_same_weekday_at_least_a_range_before(
    length: int, open_days: int
) -> None:
    made = days([float(place) for place in range(150)], open_days=open_days)
    compared = daily.compared_level(made, made[-length].day)
    if length == open_days:
        assert (compared.note, compared.earlier) == ("so far", None)
    else:
        assert compared.value == 149 - open_days
        assert compared.earlier is not None
        distance = compared.value - compared.earlier
        assert distance % 7 == 0
        assert length <= distance < length + 7


def test_a_sum_is_compared_over_full_days_only() -> None:
    made = days([1.0] * 7 + [2.0] * 6 + [100.0], open_days=1)
    compared = daily.compared_sum(made, made[7].day)
    assert (compared.value, compared.earlier, compared.change_ratio) == (12.0, 6.0, 1.0)


def test_a_sum_with_a_day_missing_is_no_sum() -> None:
    made = days([1.0, None, 1.0])
    assert daily.compared_sum(made, FIRST).value is None


def test_nothing_grows_from_nothing() -> None:
    assert daily.compared_sum(days([0.0, 5.0]), FIRST + timedelta(days=1)).change_ratio is None


def test_a_change_of_a_negative_number_has_the_sign_of_the_difference() -> None:
    assert daily.compared_sum(days([-10.0, -5.0]), FIRST + timedelta(days=1)).change_ratio == 0.5


@given(st.lists(st.integers(0, 5), min_size=70, max_size=70))
def test_a_day_is_extreme_exactly_where_it_is_outside_eight_weekdays(values: list[int]) -> None:
    found = insights.extreme(days([float(value) for value in values]))
    before = [values[-1 - 7 * week] for week in range(1, 9)]
    assert (found is not None) == (not min(before) <= values[-1] <= max(before))


def test_too_short_a_history_proves_nothing() -> None:
    assert insights.extreme(days([0.0] * 55 + [9.0])) is None
    assert insights.extreme(days([0.0] * 56 + [9.0])) is not None
