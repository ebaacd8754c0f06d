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


@given(PEOPLE, DONE, st.none() | st.integers(1, 6), st.none() | st.integers(0, 9))
def test_attribution_is_that_of_plain_python(
    people: list[tuple[int, int, int]],
    done: list[tuple[int, int, int]],
    window: int | None,
    until: int | None,
) -> None:
    owners_by_key: dict[int, tuple[int, int]] = {}
    for key, variant, exposed in sorted(people, key=lambda each: each[2]):
        owners_by_key.setdefault(key, (variant, exposed))
    amounts: dict[int, list[int]] = defaultdict(list)
    for key, micros, value in done:
        _, begin = owners_by_key.get(key, (0, 10**9))
        in_window = window is None or micros < begin + window
        if begin <= micros and in_window and (until is None or micros < until):
            amounts[key].append(0 if value == NO_VALUE else value)
    expected = {}
    for variant in {each for each, _ in owners_by_key.values()}:
        mine = [
            amounts[key] for key, (each, _) in owners_by_key.items() if each == variant and amounts.get(key)
        ]
        totals, counts = list(map(sum, mine)), list(map(len, mine))
        expected[variant] = Sums(
            len(mine),
            sum(counts),
            sum(count**2 for count in counts),
            sum(totals),
            sum(total**2 for total in totals),
            sum(total * count for total, count in zip(totals, counts, strict=True)),
        )
    half = len(done) // 2
    chunks = [
        Events(
            np.array([each[0] for each in part], np.int32),
            np.array([each[1] for each in part], np.int64),
            np.array([each[2] for each in part], np.int64),
        )
        for part in (done[:half], done[half:])
    ]
    owners = owners_of(columns(people))
    assert sums_of(owners, chunks, window, until) == expected
    if until is not None:
        early = {variant for variant, exposed in owners_by_key.values() if exposed < until}
        found = sums_of(owners.before(until), chunks, window, until)
        assert found == {variant: expected[variant] for variant in early}


@given(PEOPLE)
def test_two_variants_of_one_key_are_found(people: list[tuple[int, int, int]]) -> None:
    expected = [len({each[1] for each in people if each[0] == key}) > 1 for key, _, _ in people]
    assert two_variants(columns(people)).tolist() == expected
