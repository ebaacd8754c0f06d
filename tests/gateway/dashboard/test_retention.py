"""The grid, against the made history: ten daily visitors and twenty who came yesterday alone."""

import re

import httpx
import pytest

from gateway.dashboard.page.frame import PREFIX
from tests.gateway.dashboard.test_pages import rows_of, text_of

RETENTION = f"{PREFIX}/retention"


def test_the_grid_has_a_row_for_each_cohort_and_a_mean(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{RETENTION}?range=7d").text)
    assert "Cohort from People Day 1 Day 3 Day 7 Day 14 Day 30 Day 60 Day 90" in page
    # All ten come back the next day, and three days later.
    assert "Sat 5 Nov 2011 10 100 % (10 of 10) 100 % (10 of 10)" in page
    # Today has only ten of yesterday's thirty, and is not over.
    assert "Thu 10 Nov 2011 30 33.3 % (10 of 30, so far)" in page
    assert "Weighted mean 100 % (50 of 50 in 5 complete cohorts)" in page


def test_what_has_not_begun_is_absent_with_its_reason(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{RETENTION}?range=7d").text)
    assert "(this day has not begun for anybody)" in page
    assert "(no cohort is complete here)" in page


def test_cells_that_may_change_are_hatched(visitor: httpx.Client) -> None:
    page = visitor.get(f"{RETENTION}?range=7d").text
    # Day 1 of yesterday, day 3 of three days ago; nobody's day 7 has begun but that of the first cohorts.
    hatched = re.findall(r'class="number heat-\d incomplete" title="([^"]*)"', page)
    assert hatched == ["10 of 10, so far", "10 of 30, so far"]


def test_first_timers_enter_once(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{RETENTION}?range=7d&entry=first&start=visited").text)
    assert "Sat 5 Nov 2011 0" in page
    assert "Thu 10 Nov 2011 20 0 % (0 of 20, so far)" in page


def test_a_return_can_be_one_event(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{RETENTION}?range=7d&return=bought").text)
    assert "Sat 5 Nov 2011 10 10.0 % (1 of 10)" in page


def test_cohorts_can_be_longer(visitor: httpx.Client) -> None:
    page = text_of(visitor.get(f"{RETENTION}?range=30d&cohort=month").text)
    assert "Sat 1 Oct 2011 10" in page
    assert "Tue 1 Nov 2011 32" in page  # thirty visitors, and the two odd ones


def test_the_file_has_a_line_for_each_cell(visitor: httpx.Client) -> None:
    header, *rows = rows_of(visitor.get(f"{RETENTION}/grid.csv?range=7d"))
    assert header[:4] == ["cohort_start_time", "cohort_end_time", "size", "offset_days"]
    assert len(rows) == 7 * 7
    assert rows[0] == [
        "2011-11-05T00:00:00+00:00",
        "2011-11-06T00:00:00+00:00",
        "10",
        "1",
        "10",
        "1.0",
        "yes",
    ]
    assert rows[-1][4:] == ["0", "", "no"]


@pytest.mark.parametrize(
    "query", ["cohort=hour", "mode=x", "entry=x", "start=" + "x" * 201, "return=" + "x" * 201]
)
def test_a_wrong_choice_is_named(visitor: httpx.Client, query: str) -> None:
    answer = visitor.get(f"{RETENTION}?{query}")
    assert answer.status_code == 400
    assert f"<dt><code>{query.partition('=')[0]}</code>" in answer.text
