import math
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.dashboard.page import charts
from gateway.dashboard.page.charts import Series

values = st.lists(st.one_of(st.none(), st.floats(min_value=-1e9, max_value=1e9)), max_size=50)


@given(held=values, whole=st.booleans())
@example(held=[5e-324], whole=False)
def test_an_axis_holds_zero_and_every_value_in_equal_steps(held: list[float | None], *, whole: bool) -> None:
    marks = charts.axis(held, whole=whole)
    known = [value for value in held if value is not None]
    slack = 1e-9 * (marks[-1] - marks[0])
    assert all(marks[0] - slack <= value <= marks[-1] + slack for value in [0.0, *known])
    assert 3 <= len(marks) <= 7
    step = marks[1] - marks[0]
    assert all(math.isclose(later - earlier, step, rel_tol=1e-6) for earlier, later in pairwise(marks))
    if whole:
        assert all(mark == int(mark) for mark in marks)


@pytest.mark.parametrize(
    ("largest", "marks"),
    [(0, (0, 1, 2)), (1, (0, 1, 2)), (3, (0, 1, 2, 3)), (30, (0, 10, 20, 30)), (5331, (0, 2000, 4000, 6000))],
)
def test_axes_of_counts_are_round(largest: float, marks: tuple[float, ...]) -> None:
    assert charts.axis([largest], whole=True) == marks


def test_a_path_goes_through_the_middle_of_each_column() -> None:
    drawn = charts.line(Series("", (0.0, 10.0, 5.0, 10.0), 4), 0, 0, 10)
    assert drawn.path == "M12.5 100L37.5 0L62.5 50L87.5 0"
    assert drawn.open_path == ""


def test_what_may_still_change_is_a_path_of_its_own_that_begins_at_the_last_final_point() -> None:
    drawn = charts.line(Series("", (0.0, 10.0, 5.0, 10.0), 3), 0, 0, 10)
    assert drawn.path == "M12.5 100L37.5 0L62.5 50"
    assert drawn.open_path == "M62.5 50L87.5 0"


def test_absent_values_leave_a_gap_and_lone_points_a_dot() -> None:
    drawn = charts.line(Series("", (1.0, None, 2.0, 2.0), 4), 0, 0, 2)
    assert drawn.path == "M12.5 50M62.5 0L87.5 0"
    assert drawn.lone == ((12.5, 50.0),)


@given(st.integers(min_value=1, max_value=2_000))
def test_at_most_seven_moments_are_named(count: int) -> None:
    ticks = charts.moments([str(index) for index in range(count)])
    assert 1 <= len(ticks) <= 7
    assert all(0 < tick.position < 100 for tick in ticks)
    assert all(charts.x_of(int(tick.label), count) == tick.position for tick in ticks)


@given(st.integers(min_value=1, max_value=500))
def test_columns_fill_the_width(count: int) -> None:
    drawn = charts.columns([""] * count)
    assert drawn[0].left == 0
    assert sum(column.width for column in drawn) == pytest.approx(100, abs=1e-6)
    assert all(column.left < column.centre < column.left + column.width for column in drawn)


def test_no_points_have_no_columns() -> None:
    assert charts.columns([]) == ()
    assert charts.moments([]) == ()


def test_a_band_goes_along_the_upper_ends_and_back_along_the_lower_ones() -> None:
    band = charts.band("80% interval", 0, [None, (0.0, 10.0), (5.0, 10.0)], (0.0, 5.0, 10.0))
    assert band.path == "M50 0L83.333 0L83.333 50L50 100Z"
    assert charts.band("none", 0, [None], (0.0, 1.0)).path == ""


def test_a_mark_lies_on_its_point() -> None:
    mark = charts.mark(1, 2, 2.5, (0.0, 10.0), "here")
    assert (mark.x, mark.y) == (75, 75)
