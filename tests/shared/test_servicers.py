"""Calls of one contract spread over several objects."""

import pytest

from shared.servicers import joined


class Contract:
    """What the generated class of a contract with two calls is like."""

    def First(self, request: str, context: object) -> str:
        raise NotImplementedError

    def Second(self, request: str, context: object) -> str:
        raise NotImplementedError


class Firsts:
    def First(self, request: str, context: object) -> str:
        return f"first {request}"


class Seconds:
    def __init__(self, word: str) -> None:
        self.word = word

    def Second(self, request: str, context: object) -> str:
        return f"{self.word} {request}"


def test_each_call_goes_to_the_group_that_has_it() -> None:
    servicer = joined(Contract, [Firsts(), Seconds("second")])
    assert servicer.First("call", None) == "first call"
    assert servicer.Second("call", None) == "second call"


def test_a_call_that_no_group_has_is_found_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"Contract\.Second is answered by 0"):
        joined(Contract, [Firsts()])


def test_a_call_that_two_groups_have_is_found_at_the_start() -> None:
    with pytest.raises(ValueError, match=r"Contract\.First is answered by 2"):
        joined(Contract, [Firsts(), Firsts(), Seconds("second")])
