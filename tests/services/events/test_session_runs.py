"""Runs of events, whichever way they come together, beside counting one event after the other."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.events.ingest.batch import text_column
from services.events.sessions.runs import Runs
from services.events.sessions.tails import session_columns, session_hashes
from services.events.sessions.totals import SLOT_MICROS, Totals, added, by_slot, sums
from tests.services.events.recount import mix
from tests.services.events.sessions_oracle import GAP, Seen, Session, sessions

MINUTE = 60_000_000
START = 1_312_999_200_000_000

# Few whos and sessions, and gaps of just 30 minutes, a microsecond more and less.
moments = st.builds(
    lambda half_hours, micros: START + half_hours * GAP + micros, st.integers(0, 6), st.integers(-1, 1)
)
seen = st.builds(Seen, st.integers(1, 2), st.integers(-1, 1), moments, st.booleans())
histories = st.lists(seen, min_size=1, max_size=14)


def runs_of(events: Sequence[Seen]) -> Runs:
    return Runs.of_events(
        np.array([event.who for event in events], np.int32),
        np.array([event.time for event in events], np.int64),
        np.array([event.session for event in events], np.int64),
        np.array([event.has_page for event in events], bool),
    )


def listed(runs: Runs) -> list[Session]:
    columns = (runs.user_keys, runs.session_hashes, runs.starts, runs.ends, runs.events, runs.pages)
    return sorted(Session(*row) for row in zip(*(column.tolist() for column in columns), strict=True))


@given(histories)
def test_runs_of_one_transaction_are_its_sessions(events: list[Seen]) -> None:
    assert listed(runs_of(events)) == sessions(events)


@given(histories, st.randoms(use_true_random=False))
def test_any_order_any_split_and_any_grouping_give_the_same_sessions(
    events: list[Seen], chance: random.Random
) -> None:
    chance.shuffle(events)
    cuts = sorted({0, len(events), *(chance.randrange(len(events) + 1) for _ in range(4))})
    parts = [runs_of(events[low:high]) for low, high in pairwise(cuts)]
    while len(parts) > 1:
        chance.shuffle(parts)
        some = chance.randint(2, len(parts))
        parts = [Runs.join(parts[:some]).merged(), *parts[some:]]
    assert listed(parts[0]) == sessions(events)


def test_a_gap_of_thirty_minutes_does_not_end_a_session_and_a_microsecond_more_does() -> None:
    assert len(runs_of([Seen(1, 1, START, True), Seen(1, 1, START + GAP, True)])) == 1
    assert len(runs_of([Seen(1, 1, START, True), Seen(1, 1, START + GAP + 1, True)])) == 2


def test_a_run_within_another_leaves_its_end() -> None:
    outer = runs_of([Seen(1, 1, START + step * 20 * MINUTE, False) for step in range(10)])
    inner = runs_of([Seen(1, 1, START + 70 * MINUTE, True)])
    behind = runs_of([Seen(1, 1, START + 200 * MINUTE, True)])
    [merged] = listed(Runs.join([behind, inner, outer]).merged())
    assert merged == Session(1, 1, START, START + 200 * MINUTE, 12, 2)


@given(histories)
def test_what_was_packed_is_unpacked(events: list[Seen]) -> None:
    runs = runs_of(events)
    assert listed(Runs.unpack(runs.pack())) == listed(runs)


def test_nothing_is_no_runs() -> None:
    assert len(runs_of([])) == len(Runs.empty().merged()) == len(Runs.unpack(b"")) == 0


@given(histories, histories)
def test_totals_by_quarter_hour_are_those_of_the_sessions(events: list[Seen], gone: list[Seen]) -> None:
    expected: dict[int, list[int]] = {}
    for sign, some in ((1, events), (-1, gone)):
        for each in sessions(some):
            total = expected.setdefault(each.start // SLOT_MICROS, [0, 0, 0, 0])
            for place, number in enumerate((1, each.end - each.start, each.pages, each.events == 1)):
                total[place] += sign * number
    come, left = runs_of(events), runs_of(gone)
    found = added(sums(come, by_slot(come)), sums(left, by_slot(left), -1))
    assert found == {slot: Totals(*total) for slot, total in expected.items()}


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


@given(st.lists(st.tuples(texts, texts | st.just(""), texts | st.just(""), texts), min_size=1, max_size=6))
def test_session_ids_and_pages_are_read_from_what_is_copied(rows: list[tuple[str, str, str, str]]) -> None:
    tails = [b"".join(map(text_column, row)) for row in rows]
    hashes, has_page = session_columns(tails)
    assert has_page.tolist() == [bool(page) for _, _, page, _ in rows]
    assert hashes.tolist() == session_hashes([session for session, *_ in rows]).tolist()


@given(st.lists(texts, min_size=1, max_size=8, unique=True))
def test_different_session_ids_have_different_hashes_and_the_same_one_always_its_own(ids: list[str]) -> None:
    hashes = session_hashes(ids).tolist()
    assert len(set(hashes)) == len(ids)
    assert hashes == [session_hashes([each]).tolist()[0] for each in ids]


def test_a_text_and_the_same_with_zeros_behind_it_differ() -> None:
    assert len(set(session_hashes(["a", "a\0", "a" + 7 * "\0", "a" + 8 * "\0"]).tolist())) == 4


@given(texts)
def test_a_hash_is_the_length_and_the_words_through_the_mixer(text: str) -> None:
    # Stored sessions are found by it, so it may never change.
    data = text.encode()
    mixed = mix(len(data))
    for start in range(0, len(data), 8):
        mixed = mix(mixed ^ int.from_bytes(data[start : start + 8], "little"))
    assert session_hashes([text]).tolist() == [(mixed + 2**63) % 2**64 - 2**63]


@pytest.mark.slow
def test_every_zone_has_kept_to_quarters_of_an_hour_since_2000() -> None:
    for name in available_timezones():
        zone = ZoneInfo(name)
        for day in range(0, 366 * 40, 5):
            moment = datetime.fromtimestamp(946_684_800 + day * 86_400, UTC)
            offset = moment.astimezone(zone).utcoffset()
            assert offset is not None
            assert offset.total_seconds() % 900 == 0, name
