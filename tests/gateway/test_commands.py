"""What `python -m gateway` takes behind it."""

import sys

import pytest

from gateway.__main__ import main


@pytest.mark.parametrize("words", [["migrate"], ["healht"], ["health", "now"]])
def test_an_unknown_command_starts_nothing(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["…", *words])
    with pytest.raises(SystemExit, match=r"usage: python -m gateway \[health\]"):
        main()
