"""The search through one person's events, beside trying everything."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.funnels.rules import Attempt, Entry, Exclusion, OrderMode, Rules
from services.funnels.search import History, best_attempt
from tests.services.funnels.oracle import Happened, best

ALL = (0, 1_000)


def history(events: Sequence[Happened]) -> History:
    ordered = sorted(events, key=lambda event: event.time)
    return History(
        [event.time for event in ordered],
        [sum(1 << step for step in event.steps) for event in ordered],
        [sum(1 << ban for ban in event.bans) for event in ordered],
    )


def found(events: Sequence[Happened], rules: Rules, entries: tuple[int, int] = ALL) -> Attempt | None:
    return best_attempt(history(events), rules, entries)


@st.composite
def funnels(draw: st.DrawFn, *, modes: Sequence[OrderMode] = tuple(OrderMode)) -> Rules:
    steps = draw(st.integers(1, 4))
    mode = draw(st.sampled_from(modes))
    optional: frozenset[int] = frozenset()
    exclusions: tuple[Exclusion, ...] = ()
    if mode is not OrderMode.UNORDERED:
        optional = frozenset(draw(st.sets(st.integers(1, max(1, steps - 2))))) if steps > 2 else frozenset()
    if mode is OrderMode.ORDERED:
        bounds = [step for step in range(steps) if step not in optional]
        pairs = [(low, high) for low in bounds for high in bounds if low < high]
        if pairs:
            chosen = draw(st.lists(st.sampled_from(pairs), max_size=2, unique=True))
            exclusions = tuple(Exclusion(*pair) for pair in chosen)
    return Rules(steps, draw(st.integers(0, 6)), mode, draw(st.sampled_from(Entry)), optional, exclusions)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rules, list[Happened]]:
    rules = draw(funnels())
    happened = st.builds(
        Happened,
        st.integers(0, 7),
        st.frozensets(st.integers(0, rules.steps - 1), max_size=2),
        st.frozensets(st.integers(0, len(rules.exclusions) - 1))
        if rules.exclusions
        else st.just(frozenset()),
    )
    return rules, draw(st.lists(happened, max_size=5))


@settings(max_examples=300, deadline=None)
@given(cases(), st.tuples(st.integers(0, 3), st.integers(4, 9)))
def test_the_search_finds_what_trying_everything_finds(
    case: tuple[Rules, list[Happened]], entries: tuple[int, int]
) -> None:
    rules, events = case
    assert found(events, rules, entries) == best(events, rules, entries)


def event(letter: str, time: int) -> Happened:
    """A, B, C fill steps 0, 1, 2; X is an event of exclusion 0."""
    return Happened(
        time,
        frozenset("ABC".find(each) for each in letter if each != "X"),
        frozenset({0}) if letter == "X" else frozenset(),
    )


def happened(letters: str) -> list[Happened]:
    """A letter for each time from 1 on; a dot for none."""
    return [event(letter, time) for time, letter in enumerate(letters, 1) if letter != "."]


BETWEEN_B_AND_C = Rules(3, 10, exclusions=(Exclusion(1, 2),))


def test_an_exclusion_spoils_an_attempt_that_could_have_been_shorter() -> None:
    assert found(happened("ABXC"), BETWEEN_B_AND_C) is None
    assert found(happened("ABX"), BETWEEN_B_AND_C) is None


def test_a_clean_attempt_rescues_the_person() -> None:
    assert found(happened("ABXABC"), BETWEEN_B_AND_C) == Attempt((1, 5, 6))
    assert found(happened("ABXBC"), BETWEEN_B_AND_C) == Attempt((1, 4, 5))


def test_an_exclusion_before_its_first_step_or_behind_its_last_is_none() -> None:
    assert found(happened("AXBC"), BETWEEN_B_AND_C) == Attempt((1, 3, 4))
    assert found(happened("ABCX"), BETWEEN_B_AND_C) == Attempt((1, 2, 3))
    assert found(happened("AX"), BETWEEN_B_AND_C) == Attempt((1, None, None))


def test_an_exclusion_behind_the_window_is_none() -> None:
    rules = Rules(3, 3, exclusions=(Exclusion(1, 2),))
    assert found(happened("AB.X"), rules) is None
    assert found(happened("AB..X"), rules) == Attempt((1, 2, None))


@st.composite
def excluding(draw: st.DrawFn) -> tuple[Rules, list[Happened]]:
    """Three or four steps, one letter an event, times mostly different: where attempts can be told apart."""
    steps = draw(st.integers(3, 4))
    pairs = [(low, high) for low in range(steps) for high in range(low + 1, steps)]
    rules = Rules(steps, draw(st.integers(3, 9)), exclusions=(Exclusion(*draw(st.sampled_from(pairs))),))
    kinds = draw(st.lists(st.integers(0, steps), min_size=2, max_size=6))
    times = draw(st.lists(st.integers(0, 9), min_size=len(kinds), max_size=len(kinds)))
    return rules, [
        Happened(time, frozenset({kind} - {steps}), frozenset({0} if kind == steps else ()))
        for time, kind in zip(times, kinds, strict=True)
    ]


@settings(max_examples=300, deadline=None)
@given(excluding())
def test_spoiled_attempts_are_those_that_trying_everything_finds(case: tuple[Rules, list[Happened]]) -> None:
    rules, events = case
    assert found(events, rules) == best(events, rules, ALL)


def test_many_optional_steps_at_one_instant_are_found_at_once() -> None:
    optional = frozenset(range(1, 63))
    both = [Happened(5, optional)] * 62
    events = [Happened(0, frozenset({0})), *both, Happened(6, frozenset({63}))]
    assert found(events, Rules(64, 10, optional=optional)) == Attempt((0, *[5] * 62, 6))


@st.composite
def crowded(draw: st.DrawFn) -> tuple[Rules, list[Happened]]:
    """Five steps of which most are optional, at few times: where choosing some takes room from others."""
    optional = frozenset(draw(st.sets(st.integers(1, 3), min_size=1)))
    mode = draw(st.sampled_from([OrderMode.ORDERED, OrderMode.STRICT]))
    exclusions: tuple[Exclusion, ...] = ()
    if mode is OrderMode.ORDERED and draw(st.booleans()):
        exclusions = (Exclusion(0, 4),)
    rules = Rules(5, draw(st.integers(1, 4)), mode, optional=optional, exclusions=exclusions)
    happened = st.builds(
        Happened,
        st.integers(0, 3),
        st.frozensets(st.integers(0, 4), max_size=3),
        st.frozensets(st.just(0)) if exclusions else st.just(frozenset()),
    )
    return rules, draw(st.lists(happened, min_size=3, max_size=5))


@settings(max_examples=100, deadline=None)
@given(crowded())
def test_of_optional_steps_that_compete_the_most_are_filled(case: tuple[Rules, list[Happened]]) -> None:
    rules, events = case
    assert found(events, rules) == best(events, rules, ALL)


class NobodyWaitsError(Exception):
    pass


@pytest.mark.parametrize("rules", [BETWEEN_B_AND_C, Rules(2, 10, OrderMode.UNORDERED)])
def test_the_search_through_one_person_ends_where_nobody_waits(rules: Rules) -> None:
    asked = 0

    def proceed() -> None:
        nonlocal asked
        asked += 1
        if asked > 2:
            raise NobodyWaitsError

    with pytest.raises(NobodyWaitsError):
        best_attempt(history(happened("AAAAAAAB")), rules, ALL, proceed)
