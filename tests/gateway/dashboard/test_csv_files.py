import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dashboard.page import csv_files


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1"])
def test_formulas_are_shown_as_text(text: str) -> None:
    assert csv_files.harmless(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a=b", "1-1", "visited", "'=1"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert csv_files.harmless(text) == text


def test_numbers_stay_numbers_and_what_is_absent_is_empty() -> None:
    assert csv_files.written(("a", "b", "c"), [(-1, -2.5, None)]) == "a,b,c\r\n-1,-2.5,\r\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_a_reader_gets_every_text_back(cells: list[str]) -> None:
    written = csv_files.written(["column"] * len(cells), [cells])
    # A lone empty field is told from an empty line by its quotes.
    _, row = csv.reader(io.StringIO(written, newline=""))
    assert [cell.removeprefix("'") for cell in row] == [cell.removeprefix("'") for cell in cells]
