"""GetConversionRate: what is said of nothing, the edges of windows and ranges, late events, bad requests."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import grpc
import pytest
from brain.common.v1.common_pb2 import (
    INTERVAL_DAY,
    INTERVAL_HOUR,
    INTERVAL_WEEK,
    PROPERTY_OPERATOR_EQUALS,
    PropertyFilter,
    TimeRange,
)
from brain.events.v1 import conversion_pb2 as pb
from google.protobuf.struct_pb2 import Value

from services.events.rollups.compaction import compact
from shared.pagination import encode_token
from tests.clock import Clock
from tests.refusals import attempt, refusal
from tests.services.events.conftest import Service
from tests.services.events.conversion.asking import MICROS, ask, event, instant, micros, span, store
from tests.services.events.scans import track

HOUR = 3_600 * MICROS
DAY = 24 * HOUR
FIRST = micros(2010, 12, 27)


def test_choices_are_echoed(service: Service) -> None:
    answer = ask(service, start_event="a", end_event="b", time_range=span(FIRST, FIRST + DAY))
    assert answer == pb.GetConversionRateResponse(
        total=pb.ConversionRate(absent_reason="NO_STARTERS"),
        complete=True,
        window_minutes=60,
        entry=pb.CONVERSION_ENTRY_BEST,
        population=pb.CONVERSION_POPULATION_ACTORS,
        time_zone="UTC",
    )


def test_windows_reach_beyond_the_range_and_their_last_microsecond_counts(service: Service) -> None:
    store(
        service,
        [
            ("ann", "seen", FIRST + DAY - 1),
            ("ann", "bought", FIRST + DAY - 1 + HOUR),
            ("ben", "seen", FIRST),
            ("ben", "bought", FIRST + HOUR + 1),
            ("cyd", "seen", FIRST + DAY),  # the range's end
            ("cyd", "bought", FIRST + DAY),
        ],
    )
    answer = ask(service, start_event="seen", end_event="bought", time_range=span(FIRST, FIRST + DAY))
    assert (answer.total.starters, answer.total.converters) == (2, 1)
    assert answer.total.median_seconds == answer.total.mean_seconds == 3_600


def test_hours_of_a_day_with_a_half_hour_change(service: Service) -> None:
    """On 2011-04-03 clocks on Lord Howe Island went back half an hour at 2:00."""
    midnight = int(datetime(2011, 4, 3, tzinfo=ZoneInfo("Australia/Lord_Howe")).timestamp()) * MICROS
    store(service, [("ann", "seen", midnight), ("ann", "bought", midnight + 1)])
    answer = ask(
        service,
        start_event="seen",
        end_event="bought",
        time_range=span(midnight, midnight + 3 * HOUR),
        time_zone="Australia/Lord_Howe",
        interval=INTERVAL_HOUR,
    )
    starts = [point.start_time for point in answer.points]
    assert starts == [instant(midnight + hours * HOUR // 2) for hours in (0, 2, 5)]
    assert [point.rate.starters for point in answer.points] == [1, 0, 0]


@pytest.mark.usefixtures("still")
def test_late_events_count_at_once_folded_or_not(service: Service) -> None:
    store(service, [("ann", "seen", FIRST), ("ben", "seen", FIRST)])
    request = {"start_event": "seen", "end_event": "bought", "time_range": span(FIRST, FIRST + DAY)}
    assert ask(service, **request).total.converters == 0
    track(service, [event(10, "ann", "bought", FIRST + 5)])
    assert ask(service, **request).total.converters == 1
    while compact(service.engine):
        pass
    track(service, [event(11, "ben", "bought", FIRST + 5)])
    assert ask(service, **request).total.converters == 2


def test_an_entry_is_open_as_long_as_an_event_at_the_last_microsecond_can_come(
    service: Service, clock: Clock
) -> None:
    start = clock.micros - HOUR
    store(service, [("ann", "seen", start), ("ben", "seen", start), ("ben", "bought", start + 5)])
    question = {"start_event": "seen", "end_event": "bought", "time_range": span(start, start + 1)}
    answer = ask(service, **question)
    assert (answer.total.open_entries, answer.complete) == (1, False)
    clock.micros += 1
    answer = ask(service, **question)
    assert (answer.total.open_entries, answer.complete) == (0, True)


def test_the_same_value_as_number_and_as_boolean_are_different_filters(service: Service) -> None:
    """Python takes 1 and True for equal."""
    track(
        service,
        [
            event(1, "ann", "seen", FIRST, '{"flag": 1}'),
            event(2, "ben", "seen", FIRST, '{"flag": true}'),
            event(3, "cyd", "seen", FIRST, '{"flag": true}'),
        ],
    )
    for value, starters in ((Value(number_value=1), 1), (Value(bool_value=True), 2)) * 2:
        condition = PropertyFilter(property="flag", operator=PROPERTY_OPERATOR_EQUALS, values=[value])
        answer = ask(
            service,
            start_event="seen",
            end_event="bought",
            start_filters=[condition],
            time_range=span(FIRST, FIRST + DAY),
        )
        assert answer.total.starters == starters


SENSIBLE = {"start_event": "a", "end_event": "b", "time_range": span(FIRST, FIRST + DAY)}
CENTURY = span(0, micros(2099, 1, 1))


BAD: list[tuple[Mapping[str, object], set[str]]] = [
    ({"start_event": ""}, {"start_event"}),
    ({"end_event": ""}, {"end_event"}),
    ({"start_event": "x" * 201, "end_event": "\0"}, {"start_event", "end_event"}),
    ({"window_minutes": -1}, {"window_minutes"}),
    ({"window_minutes": 527_041}, {"window_minutes"}),
    ({"time_range": None}, {"time_range"}),
    ({"time_range": TimeRange()}, {"time_range.start_time", "time_range.end_time"}),
    ({"time_range": span(FIRST, FIRST)}, {"time_range.end_time"}),
    ({"time_range": span(FIRST, FIRST - 1)}, {"time_range.end_time"}),
    ({"time_range": span(-1, FIRST)}, {"time_range"}),
    ({"time_range": CENTURY, "interval": INTERVAL_DAY}, {"time_range"}),
    ({"time_zone": "Mars/Olympus"}, {"time_zone"}),
    ({"time_zone": "../etc/passwd"}, {"time_zone"}),
    ({"interval": 99}, {"interval"}),
    ({"entry": 99}, {"entry"}),
    ({"population": -1}, {"population"}),
    (
        {"start_filters": [PropertyFilter()]},
        {f"start_filters[0].{name}" for name in ("property", "operator", "values")},
    ),
    (
        {"end_filters": [PropertyFilter()]},
        {f"end_filters[0].{name}" for name in ("property", "operator", "values")},
    ),
    ({"group_property": "a..b"}, {"group_property"}),
    ({"group_property": "x" * 201}, {"group_property"}),
    ({"page_size": 1}, {"page_size"}),
    ({"page_token": "x"}, {"page_token"}),
    ({"group_property": "p", "page_size": -1}, {"page_size"}),
    ({"group_property": "p", "page_size": 1_001}, {"page_size"}),
    ({"group_property": "p", "page_token": "x"}, {"page_token"}),
    ({"group_property": "p", "page_token": "\u00e9"}, {"page_token"}),
    (
        {"start_event": "", "window_minutes": -5, "time_zone": "x", "time_range": None, "entry": 7},
        {"start_event", "window_minutes", "time_zone", "time_range", "entry"},
    ),
]


def test_requests_without_sense_name_every_bad_field(service: Service) -> None:
    for changes, fields in BAD:
        refused = refusal(partial(ask, service, **SENSIBLE | dict(changes)))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert set(refused.fields) == fields
        assert all(refused.fields.values())


def test_the_longest_window_and_the_longest_range_are_answered(service: Service) -> None:
    store(service, [("ann", "a", FIRST - 366 * DAY), ("ann", "b", FIRST)])
    answer = ask(
        service,
        start_event="a",
        end_event="b",
        time_range=CENTURY,
        window_minutes=527_040,
        interval=INTERVAL_WEEK,
    )
    assert (answer.total.starters, answer.total.converters) == (1, 1)
    assert answer.total.median_seconds == 366 * 86_400


def test_tokens_of_other_questions_are_refused_and_forged_ones_do_no_harm(service: Service) -> None:
    track(service, [event(n, f"user-{n}", "a", FIRST, f'{{"p": {n}}}') for n in range(3)])
    token = ask(service, **SENSIBLE, group_property="p", page_size=1).next_page_token
    other = refusal(partial(ask, service, **SENSIBLE, group_property="q", page_token=token))
    assert set(other.fields) == {"page_token"}
    request = pb.GetConversionRateRequest(
        start_event="a", end_event="b", time_range=span(FIRST, FIRST + DAY), group_property="p"
    )
    positions: list[list[str | int | None]] = [
        [],
        [1],
        ["a", 1],
        [None, None],
        [2**63 - 1, "a"],
        [-(2**63), ""],
    ]
    for position in positions:
        forged = encode_token(request, position)
        refused = attempt(partial(ask, service, **SENSIBLE, group_property="p", page_token=forged))
        assert (refused is None) == (position[-1:] in (["a"], [""]))


def test_the_example_of_the_documentation(service: Service) -> None:
    """docs/numbers.md speaks of Ann."""
    nine = FIRST + 9 * HOUR
    store(
        service,
        [
            ("ann", "viewed", nine),
            ("ann", "viewed", nine + 3 * HOUR // 2),
            ("ann", "bought", nine + 2 * HOUR),
        ],
    )
    asked = {"start_event": "viewed", "end_event": "bought", "time_range": span(FIRST, FIRST + DAY)}
    hour = ask(service, **asked, window_minutes=60).total
    assert (hour.starters, hour.converters, hour.median_seconds) == (1, 1, 1_800)
    first = ask(service, **asked, window_minutes=60, entry=pb.CONVERSION_ENTRY_FIRST).total
    assert (first.starters, first.converters) == (1, 0)
    assert ask(service, **asked, window_minutes=120).total.median_seconds == 7_200
