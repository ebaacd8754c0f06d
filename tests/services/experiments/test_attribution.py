"""Which events are whose conversions, against plain Python."""

from collections import defaultdict

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.experiments.results.attribution import (
    NO_VALUE,
    Events,
    People,
    owners_of,
    sums_of,
    two_variants,
)
from services.experiments.results.totals import Sums

PEOPLE = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 2), st.integers(0, 5)), max_size=6)
DONE = st.lists(
    st.tuples(st.integers(1, 5), st.integers(0, 9), st.sampled_from([int(NO_VALUE), -2, 10**18])), max_size=12
)


def columns(people: list[tuple[int, int, int]]) -> People:
    keys, variants, exposed = zip(*people, strict=True) if people else ((), (), ())
    return People(np.array(keys, np.int32), np.array(variants, np.int16), np.array(exposed, np.int64))


def first_owners(people: list[tuple[int, int, int]]) -> dict[int, tuple[int, int]]:
    """Return variant and first exposure of who was exposed first, by key."""
    found: dict[int, tuple[int, int]] = {}
    for key, variant, exposed in sorted(people, key=lambda each: each[2]):
        found.setdefault(key, (variant, exposed))
    return found


def amounts_of(
    owners: dict[int, tuple[int, int]],
    done: list[tuple[int, int, int]],
    window: int | None,
    until: int | None,
) -> dict[int, list[int]]:
    """Return what counts of each key."""
    found: dict[int, list[int]] = defaultdict(list)
    for key, micros, value in done:
        _, begin = owners.get(key, (0, 10**9))
        in_window = window is None or micros < begin + window
        if begin <= micros and in_window and (until is None or micros < until):
            found[key].append(0 if value == NO_VALUE else value)
    return found


def summed(people: list[list[int]]) -> Sums:
    totals, counts = list(map(sum, people)), list(map(len, people))
    return Sums(
        len(people),
        sum(counts),
        sum(count**2 for count in counts),
        sum(totals),
        sum(total**2 for total in totals),
        sum(total * count for total, count in zip(totals, counts, strict=True)),
    )


def chunk(done: list[tuple[int, int, int]]) -> Events:
    keys, times, values = zip(*done, strict=True) if done else ((), (), ())
    return Events(np.array(keys, np.int32), np.array(times, np.int64), np.array(values, np.int64))


@given(PEOPLE, DONE, st.none() | st.integers(1, 6), st.none() | st.integers(0, 9))
def test_attribution_is_that_of_plain_python(
    people: list[tuple[int, int, int]],
    done: list[tuple[int, int, int]],
    window: int | None,
    until: int | None,
) -> None:
    first = first_owners(people)
    amounts = amounts_of(first, done, window, until)
    expected = {
        variant: summed([amounts[key] for key in first if first[key][0] == variant and key in amounts])
        for variant in {each for each, _ in first.values()}
    }
    half = len(done) // 2
    chunks = [chunk(done[:half]), chunk(done[half:])]
    owners = owners_of(columns(people))
    assert sums_of(owners, chunks, window, until) == expected
    if until is not None:
        early = {variant for variant, exposed in first.values() if exposed < until}
        found = sums_of(owners.before(until), chunks, window, until)
        assert found == {variant: expected[variant] for variant in early}


@given(PEOPLE)
def test_two_variants_of_one_key_are_found(people: list[tuple[int, int, int]]) -> None:
    expected = [len({each[1] for each in people if each[0] == key}) > 1 for key, _, _ in people]
    assert two_variants(columns(people)).tolist() == expected
