"""Revisions: the mixer against its definition in integers, and what a sum of them must notice."""

from collections.abc import Iterator
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.events.revision import mix64

WORD = 2**64
GOLDEN = 0x9E3779B97F4A7C15

words = st.integers(0, WORD - 1)
identities = st.tuples(st.integers(1, 2**31 - 1), st.integers(-(2**62), 2**62), words, words)


def finaliser(word: int) -> int:
    """David Stafford's variant 13, as in https://prng.di.unimi.it/splitmix64.c (S. Vigna, public domain)."""
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % WORD
    return word ^ (word >> 31)


def splitmix64(state: int) -> Iterator[int]:
    while True:
        state = (state + GOLDEN) % WORD
        yield finaliser(state)


def share(user_key: int, time: int, high: int, low: int) -> int:
    mixed = 0
    for word in (user_key, time, high, low):
        mixed = finaliser(((mixed ^ word % WORD) + GOLDEN) % WORD)
    return mixed


def mixed(events: list[tuple[int, int, int, int]]) -> NDArray[np.uint64]:
    user_keys, times, high, low = (list(column) for column in zip(*events, strict=True))
    return mix64(
        np.array(user_keys, np.int32),
        np.array(times, np.int64),
        (np.array(high, np.uint64), np.array(low, np.uint64)),
    )


def test_the_oracle_is_splitmix64() -> None:
    # https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64, made with Vigna's splitmix64.c.
    numbers = splitmix64(1234567)
    assert [next(numbers) for _ in range(5)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@given(st.lists(identities, min_size=1, max_size=20))
def test_shares_are_those_of_the_definition(events: list[tuple[int, int, int, int]]) -> None:
    assert mixed(events).tolist() == [share(*event) for event in events]


@given(st.lists(identities, min_size=2, max_size=20), st.randoms(use_true_random=False))
def test_a_revision_depends_on_the_set_alone(events: list[tuple[int, int, int, int]], random: Random) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)
    whole = int(mixed(events).sum(dtype=np.uint64))
    assert int(mixed(shuffled).sum(dtype=np.uint64)) == whole
    parts = mixed(shuffled[:1]), mixed(shuffled[1:])
    assert sum(int(part.sum(dtype=np.uint64)) for part in parts) % WORD == whole


@settings(max_examples=150)
@given(identities, st.integers(0, 3), st.integers(0, 62))
def test_every_bit_of_every_field_matters(event: tuple[int, int, int, int], field: int, bit: int) -> None:
    changed = list(event)
    changed[field] ^= 1 << (bit % 30 if field == 0 else bit)
    before, after = mixed([event, (changed[0], changed[1], changed[2], changed[3])]).tolist()
    # A good mixer flips half of the 64 bits; fewer than 8 happen once in 10¹⁰.
    assert (before ^ after).bit_count() >= 8


def test_fields_do_not_stand_in_for_one_another() -> None:
    events = [(1, 2, 3, 4), (2, 1, 3, 4), (1, 3, 2, 4), (1, 2, 4, 3), (4, 3, 2, 1)]
    assert len(set(mixed(events).tolist())) == 5
