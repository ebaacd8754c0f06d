"""What is taken from the wire, and every reason to refuse an event."""

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from services.events.domain import UserKind
from services.events.ingest.batch import Batch
from services.events.ingest.incoming import read
from services.events.rollups.deltas import NO_VALUE

NOW = 1_321_000_000_000_000  # 2011-11-11 08:26:40
SECONDS = NOW // 1_000_000
YEAR_1, YEAR_2000, YEAR_9999 = -62_135_596_800, 946_684_800, 253_402_300_799
AHEAD = 24 * 3600

# One character in four bytes of UTF-8: limits count characters.
WIDE = "\N{GRINNING FACE}"
LIMITS = {
    "event": 200,
    "category": 100,
    "event_id": 200,
    "user_id": 200,
    "anonymous_id": 200,
    "session_id": 200,
    "page": 2_000,
    "referrer": 2_000,
    "user_agent": 2_000,
}
TEXTS = pytest.mark.parametrize("field", LIMITS)


def event(**changes: Any) -> Event:  # noqa: ANN401 - any field by its name
    fields: dict[str, Any] = {
        "event_id": "e1",
        "session_id": "s1",
        "event": "bought",
        "event_time": Timestamp(seconds=SECONDS),
    }
    return Event(**(fields | changes))


def refused(*events: Event) -> list[tuple[int, str, str]]:
    batch, rejected = read(events, NOW)
    assert len(batch) == len(events) - len({each.index for each in rejected})
    return [(each.index, each.field, each.reason) for each in rejected]


def stored(sent: Event) -> Batch:
    batch, rejected = read([sent], NOW)
    assert rejected == []
    return batch


def fields_refused(sent: Event) -> list[str]:
    return [field for _, field, _ in refused(sent)]


@TEXTS
@pytest.mark.parametrize("character", ["a", "é", WIDE])
def test_texts_may_have_as_many_characters_as_the_limit(field: str, character: str) -> None:
    assert refused(event(**{field: character * LIMITS[field]})) == []
    [(_, named, reason)] = refused(event(**{field: character * (LIMITS[field] + 1)}))
    assert (named, reason) == (field, f"is longer than {LIMITS[field]} characters")


@TEXTS
def test_a_huge_text_is_refused_once(field: str) -> None:
    assert fields_refused(event(**{field: WIDE * 1_000_000})) == [field]


@TEXTS
@pytest.mark.parametrize("text", ["\0", "a\0b", "a\0"])
def test_no_text_may_contain_nul(field: str, text: str) -> None:
    assert refused(event(**{field: text})) == [(0, field, "contains a NUL character")]


@pytest.mark.parametrize("field", ["event", "session_id"])
def test_name_and_session_are_required(field: str) -> None:
    assert refused(event(**{field: ""})) == [(0, field, "must have 1 to 200 characters")]


@pytest.mark.parametrize("field", [field for field in LIMITS if field not in {"event", "session_id"}])
def test_other_texts_may_be_empty(field: str) -> None:
    assert refused(event(**{field: ""})) == []


def test_all_violations_of_an_event_are_told_at_once() -> None:
    texts: dict[str, Any] = dict.fromkeys(LIMITS, "\0" + "x" * 5_000)
    worst = Event(**texts, event_time=Timestamp(seconds=YEAR_1), value=float("nan"), properties_json="[]")
    assert set(fields_refused(worst)) == {*LIMITS, "event_time", "value", "properties_json"}
    empty = Event(
        event_id="e1", value=float("inf"), properties_json="{", page="\0", referrer="\0", user_agent="\0"
    )
    assert sorted(fields_refused(empty)) == [
        *("event", "event_time", "page", "properties_json", "referrer", "session_id", "user_agent", "value")
    ]
    names = {"event", "category", "user_id", "anonymous_id"}
    assert set(fields_refused(event(**dict.fromkeys(names, "\0")))) == names


def test_a_bad_event_does_not_spoil_its_neighbours() -> None:
    events = [event(event_id="a"), event(event=""), event(event_id="b"), event(value=float("inf"))]
    batch, rejected = read(events, NOW)
    assert batch.indexes == [0, 2]
    assert [each.index for each in rejected] == [1, 3]
    assert {len(getattr(batch, column)) for column in Batch.__slots__} == {2}


@pytest.mark.parametrize(
    ("seconds", "nanos", "reason"),
    [
        (YEAR_2000, 0, None),
        (YEAR_2000 - 1, 999_999_999, "is before 2000-01-01"),
        (YEAR_1, 0, "is before 2000-01-01"),
        (-(2**63), 0, "is before 2000-01-01"),
        (SECONDS + AHEAD, 0, None),
        (SECONDS + AHEAD, 999, None),  # cut off to the microsecond
        (SECONDS + AHEAD, 1_000, "is more than 24 hours ahead of the server"),
        (YEAR_9999, 999_999_999, "is more than 24 hours ahead of the server"),
        (2**63 - 1, 0, "is more than 24 hours ahead of the server"),
        (SECONDS, -1, "is not a valid timestamp: nanos must be 0 to 999,999,999"),
        (SECONDS, -(2**31), "is not a valid timestamp: nanos must be 0 to 999,999,999"),
        (SECONDS, 1_000_000_000, "is not a valid timestamp: nanos must be 0 to 999,999,999"),
        (SECONDS, 999_999_999, None),
    ],
)
def test_times_lie_between_2000_and_a_day_from_now(seconds: int, nanos: int, reason: str | None) -> None:
    found = refused(event(event_time=Timestamp(seconds=seconds, nanos=nanos)))
    assert found == ([] if reason is None else [(0, "event_time", reason)])


def test_times_are_kept_to_the_microsecond() -> None:
    sent = event(event_time=Timestamp(seconds=SECONDS, nanos=123_456_999))
    assert stored(sent).times == [NOW + 123_456]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 1e12 + 0.001, -1e12 - 0.001, 1e308]
)
def test_values_that_are_no_amounts_are_refused(value: float) -> None:
    assert refused(event(value=value)) == [(0, "value", "must be a number within ± 10¹²")]


@pytest.mark.parametrize(
    ("value", "millionths"),
    [
        (1e12, 10**18),
        (-1e12, -(10**18)),
        (0.0, 0),
        (-0.0, 0),
        (0.1, 100_000),
        (12.34, 12_340_000),
        (5e-324, 0),
    ],
)
def test_values_are_kept_as_millionths(value: float, millionths: int) -> None:
    assert stored(event(value=value)).values == [millionths]


@given(st.decimals(-(10**9), 10**9, places=6))
def test_amounts_of_six_decimals_are_kept_exactly(amount: Decimal) -> None:
    assert stored(event(value=float(amount))).values == [int(amount * 1_000_000)]


@given(st.integers(-(10**12), 10**12))
def test_whole_amounts_are_kept_exactly_however_large(amount: int) -> None:
    assert stored(event(value=float(amount))).values == [amount * 1_000_000]


def test_no_value_is_not_zero() -> None:
    assert stored(event()).values == [NO_VALUE]
    assert stored(event(value=0)).values == [0]


@pytest.mark.parametrize(
    ("ids", "who", "anonymous"),
    [
        ({}, (UserKind.SESSION, "s1"), None),
        ({"anonymous_id": "a"}, (UserKind.ANONYMOUS, "a"), None),
        ({"user_id": "u"}, (UserKind.USER, "u"), None),
        ({"user_id": "u", "anonymous_id": "a"}, (UserKind.USER, "u"), (UserKind.ANONYMOUS, "a")),
        ({"user_id": "s1", "anonymous_id": "s1"}, (UserKind.USER, "s1"), (UserKind.ANONYMOUS, "s1")),
    ],
)
def test_who_is_the_user_else_the_anonymous_id_else_the_session(
    ids: dict[str, str], who: object, anonymous: object
) -> None:
    batch = stored(event(**ids))
    assert (batch.who, batch.anonymous) == ([who], [anonymous])


def test_an_id_without_a_time_is_refused() -> None:
    sent = event()
    sent.ClearField("event_time")
    assert fields_refused(sent) == ["event_time"]


def test_the_server_makes_what_identifies_an_event_that_brings_nothing() -> None:
    sent = event(event_id="")
    sent.ClearField("event_time")
    first, second = stored(sent), stored(sent)
    assert first.times == second.times == [NOW]
    assert first.ids != second.ids
    assert UUID(bytes=first.ids[0]).version == 4


def test_a_time_that_came_without_an_id_is_kept() -> None:
    assert stored(event(event_id="", event_time=Timestamp(seconds=YEAR_2000))).times == [
        YEAR_2000 * 1_000_000
    ]


def test_the_first_instant_of_1970_is_a_time_that_was_given() -> None:
    assert fields_refused(event(event_time=Timestamp())) == ["event_time"]


def test_a_part_of_a_batch_is_a_slice_of_every_column() -> None:
    batch, _ = read([event(event_id=str(number), session_id=f"s{number}") for number in range(5)], NOW)
    part = batch.part(1, 3)
    for column in Batch.__slots__:
        assert getattr(part, column) == getattr(batch, column)[1:3]
