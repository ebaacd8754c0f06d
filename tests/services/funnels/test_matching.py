"""Everybody together, beside everybody by trying everything."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.funnels.chaining import chain
from services.funnels.columns import NEVER, Packing, Source
from services.funnels.matching import match
from services.funnels.rules import Entry, Rules
from tests.services.funnels.oracle import Happened, best
from tests.services.funnels.test_search import ALL, funnels

People = dict[int, list[Happened]]


def sources(people: People, parts: int) -> list[Source]:
    """Return everybody's events, dealt out to some sources in no order."""
    rows = [(user, event) for user, events in people.items() for event in events]
    return [source(rows[part::parts]) for part in range(parts)]


def source(rows: Sequence[tuple[int, Happened]]) -> Source:
    return Source(
        np.array([user for user, _ in rows], np.int32),
        np.array([event.time for _, event in rows], np.int64),
        np.array([sum(1 << step for step in event.steps) for _, event in rows], np.uint64),
        np.array([sum(1 << ban for ban in event.bans) for _, event in rows], np.uint64),
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[Rules, People]:
    rules = draw(funnels())
    happened = st.builds(
        Happened,
        st.integers(0, 9),
        st.frozensets(st.integers(0, rules.steps - 1), min_size=0, max_size=draw(st.integers(1, 2))),
        st.frozensets(st.just(0), max_size=draw(st.integers(0, 1)))
        if rules.exclusions
        else st.just(frozenset()),
    )
    return rules, draw(st.dictionaries(st.integers(1, 5), st.lists(happened, max_size=5), max_size=5))


@settings(max_examples=200, deadline=None)
@given(cases(), st.integers(1, 3), st.tuples(st.integers(0, 3), st.integers(4, 12)))
def test_all_people_get_the_attempt_that_trying_everything_finds(
    case: tuple[Rules, People], parts: int, entries: tuple[int, int]
) -> None:
    rules, people = case
    expected = {
        user: tuple(NEVER if time is None else time for time in attempt.times)
        for user, events in sorted(people.items())
        if (attempt := best(events, rules, entries))
    }
    matches = match(sources(people, parts), rules, entries)
    found = zip(matches.user_keys.tolist(), map(tuple, matches.times.tolist()), strict=True)
    assert dict(found) == expected
    assert matches.user_keys.tolist() == sorted(expected)


@st.composite
def repeating(draw: st.DrawFn) -> tuple[Rules, People]:
    """Steps that share events wholly or not at all, as where filters are not used; many ties."""
    steps = draw(st.integers(2, 4))
    letters = draw(st.lists(st.sampled_from("AB"), min_size=steps, max_size=steps))
    rules = Rules(steps, draw(st.integers(0, 5)), entry=draw(st.sampled_from(Entry)))
    kinds = [frozenset(step for step in range(steps) if letters[step] == letter) for letter in "AB"]
    happened = st.builds(Happened, st.integers(0, 4), st.sampled_from([*kinds, frozenset()]))
    return rules, draw(st.dictionaries(st.integers(1, 4), st.lists(happened, max_size=6), max_size=4))


@settings(max_examples=100, deadline=None)
@given(repeating())
def test_repeated_steps_are_matched_together(case: tuple[Rules, People]) -> None:
    rules, people = case
    events = Source.joined([*sources(people, 1)])
    packing = Packing.of(events, rules.window) if len(events) else None
    if packing is None:
        return
    together, others = chain(events, packing, rules, ALL)
    assert not others.any()
    expected = {
        user: tuple(NEVER if time is None else time for time in attempt.times)
        for user, history in sorted(people.items())
        if (attempt := best(history, rules, ALL))
    }
    found = zip(together.user_keys.tolist(), map(tuple, together.times.tolist()), strict=True)
    assert dict(found) == expected


@st.composite
def alike(draw: st.DrawFn) -> tuple[Rules, People]:
    """More events that are alike than there are steps."""
    rules = draw(funnels())
    steps = st.frozensets(st.integers(0, rules.steps - 1), max_size=2)
    bans = st.frozensets(st.just(0)) if rules.exclusions else st.just(frozenset())
    some = st.lists(st.builds(Happened, st.integers(0, 3), steps, bans), min_size=1, max_size=2)
    return rules, {user: 3 * draw(some) for user in range(draw(st.integers(1, 3)))}


@settings(max_examples=60, deadline=None)
@given(alike(), st.tuples(st.integers(0, 1), st.integers(2, 5)))
def test_events_that_are_alike_each_fill_a_step(case: tuple[Rules, People], entries: tuple[int, int]) -> None:
    rules, people = case
    expected = {
        user: tuple(NEVER if time is None else time for time in attempt.times)
        for user, events in people.items()
        if (attempt := best(events, rules, entries))
    }
    matches = match(sources(people, 1), rules, entries)
    assert dict(zip(matches.user_keys.tolist(), map(tuple, matches.times.tolist()), strict=True)) == expected


def test_nobody_gives_nothing() -> None:
    matches = match([source([])], Rules(3, 10), ALL)
    assert matches.times.shape == (0, 3)
