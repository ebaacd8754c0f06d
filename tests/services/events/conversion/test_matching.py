"""Matching columns against an exhaustive search, on small histories: repeated steps, ties, shared events."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.events.conversion import matching
from services.events.conversion.matching import NONE, best_attempts, delays
from services.events.conversion.rates import rates
from services.events.reading.columns import Columns, joined
from tests.services.events.conversion.attempts import Happened, outcomes, rate

END = 12
VALUES = (None, '"a"', '"b"', "7")


def columns(events: list[Happened]) -> Columns:
    ordered = sorted(events, key=lambda each: (each.who, each.time))
    texts = tuple(text for text in VALUES if text)
    return Columns(
        np.array([each.who for each in ordered], np.int32),
        np.array([each.time for each in ordered], np.int64),
        np.array([VALUES.index(each.value) - 1 for each in ordered], np.int32),
        texts,
    )


@st.composite
def histories(draw: st.DrawFn, times: st.SearchStrategy[int]) -> list[Happened]:
    """Up to ten events of up to three users; each is a start, an end, or both."""
    kinds = st.sampled_from([(True, False), (False, True), (True, True)])
    rows = draw(
        st.lists(st.tuples(st.integers(1, 3), times, kinds, st.sampled_from(VALUES)), min_size=1, max_size=10)
    )
    return [Happened(number, who, time, *kind, value) for number, (who, time, kind, value) in enumerate(rows)]


def found(
    events: list[Happened], bounds: list[int], window: int | None, *, first_only: bool
) -> tuple[matching.Attempts, Columns]:
    starts = joined([columns([each for each in events if each.is_start and each.time < END])])
    ends = columns([each for each in events if each.is_end])
    shared = columns([each for each in events if each.is_start and each.is_end])
    return best_attempts(starts, delays(starts, ends, shared, window), bounds, first_only=first_only), starts


@settings(max_examples=400)
@given(
    events=histories(st.integers(0, 20)),
    window=st.none() | st.integers(0, 10),
    now=st.integers(0, 30),
    first_only=st.booleans(),
    cuts=st.sets(st.integers(1, END - 1), max_size=3),
)
def test_every_small_history_is_matched_as_by_exhaustive_search(
    *, events: list[Happened], window: int | None, now: int, first_only: bool, cuts: set[int]
) -> None:
    bounds = [0, *sorted(cuts)]
    attempts, starts = found(events, bounds, window, first_only=first_only)
    since = None if window is None else now - window
    actual = rates(attempts, attempts.buckets, len(bounds), since)
    for number, bucket in enumerate(zip(bounds, [*bounds[1:], END], strict=True)):
        expected = list(outcomes(events, bucket, window, now, first_only=first_only).values())
        one = actual[number]
        assert (one.starters, one.converters, one.open_entries) == rate(expected)[:3]
        assert (one.median_seconds, one.mean_seconds) == pytest.approx(rate(expected)[3:])
        inside = attempts.buckets == number
        texts = [*starts.texts, None]
        got = [
            (None if delay == NONE else delay, texts[group])
            for delay, group in zip(
                attempts.delays[inside].tolist(), attempts.groups[inside].tolist(), strict=True
            )
        ]
        assert sorted(map(repr, got)) == sorted(repr((each.delay, each.value)) for each in expected)


@given(histories(st.integers(0, 20) | st.integers(0, 2**51)), st.none() | st.integers(0, 2**51))
def test_users_are_matched_alike_in_blocks_of_any_size(events: list[Happened], window: int | None) -> None:
    starts = columns([each for each in events if each.is_start])
    ends = columns([each for each in events if each.is_end])
    shared = columns([each for each in events if each.is_start and each.is_end])
    whole = delays(starts, ends, shared, window)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "_PACKED_BITS", 0)  # one user a block
        assert delays(starts, ends, shared, window).tolist() == whole.tolist()


@given(histories(st.integers(0, 20)), st.data())
def test_the_order_of_arrival_never_matters(events: list[Happened], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(events))
    before, after = (found(each, [0], 5, first_only=False)[0] for each in (events, shuffled))
    assert [column.tolist() for column in astuple(before)] == [column.tolist() for column in astuple(after)]


def test_many_users_over_a_century_do_not_run_together() -> None:
    """Their ranks and times together need more than 63 bits."""
    users = np.arange(1, 5_001, dtype=np.int32)
    century = 2**51
    starts = Columns(users, np.where(users % 2, 0, century))
    ends = Columns(users, np.full(len(users), century))
    nothing = Columns(users[:0], starts.times[:0])
    assert delays(starts, ends, nothing, None).tolist() == [century if user % 2 else 0 for user in users]


def delay_of(
    starts: list[int], ends: list[int], window: int | None, shared: tuple[int, ...] = ()
) -> int | None:
    """The delay that counts for one user."""
    given_starts, given_ends, both = (
        Columns(np.ones(len(times), np.int32), np.array(times, np.int64)) for times in (starts, ends, shared)
    )
    result = delays(given_starts, given_ends, both, window)
    [delay] = best_attempts(given_starts, result, [0], first_only=False).delays.tolist()
    return None if delay == NONE else delay


def test_the_window_includes_its_last_microsecond() -> None:
    assert delay_of([5], [15], 10) == 10
    assert delay_of([5], [16], 10) is None
    assert delay_of([5], [2**40], None) == 2**40 - 5


def test_equal_times_are_taken_in_the_order_of_the_steps() -> None:
    assert delay_of([5], [5], 10) == 0
    assert delay_of([5], [4], 10) is None


def test_one_event_fills_one_step_only() -> None:
    assert delay_of([5], [5], 10, (5,)) is None
    assert delay_of([5, 5], [5, 5], 10, (5, 5)) == 0
    assert delay_of([5, 5], [5], 10, (5,)) == 0  # the other start event is the entry
    assert delay_of([5, 9], [5, 9], 10, (5, 9)) == 4


def test_the_earliest_start_that_converts_gives_the_time() -> None:
    assert delay_of([0, 20, 25], [28], 10) == 8


def test_nothing_comes_of_nothing() -> None:
    nothing = Columns(np.empty(0, np.int32), np.empty(0, np.int64))
    attempts = best_attempts(nothing, delays(nothing, nothing, nothing, 5), [0], first_only=False)
    [nobody] = rates(attempts, attempts.buckets, 1, None)
    assert (nobody.starters, nobody.conversion_ratio, nobody.median_seconds) == (0, None, None)
