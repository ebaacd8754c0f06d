"""The id of a request: told to its caller whatever comes of it, and in every line written meanwhile."""

import json
import logging
from collections.abc import Iterable
from typing import Any

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse
from prometheus_client import CollectorRegistry

from brain_client import explain
from shared.chores import Chore, Housekeeper
from shared.errors import FieldViolation, InvalidArgument, NotFound
from shared.logs import JsonLines
from shared.request_id import current_request_id
from tests.shared.conftest import Start
from tests.shared.sample_service import Sample, SampleStub, failing, reason, violations
from tests.waiting import until

ONE = TrackEventsRequest(events=[Event(event="a")])
GIVEN = (("x-request-id", "r-1"),)


def told(metadata: Iterable[Any] | None) -> list[str]:
    return [value for key, value in metadata or () if key == "x-request-id"]


def test_an_answer_carries_the_id_that_came_or_was_made(start: Start) -> None:
    stub = start().stub()
    _, given = stub.ask.with_call(ONE, metadata=GIVEN)
    assert told(given.trailing_metadata()) == ["r-1"]
    _, made = stub.ask.with_call(ONE, metadata=(("x-request-id", "x" * 129),))
    [new] = told(made.trailing_metadata())
    assert len(new) == 32


def test_streams_carry_it_at_their_end(start: Start) -> None:
    stub = start().stub()
    for stream in (stub.watch(ONE, metadata=GIVEN), stub.talk(iter([ONE]), metadata=GIVEN)):
        list(stream)
        assert told(stream.trailing_metadata()) == ["r-1"]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (NotFound("none of that name", "THING_UNKNOWN"), "THING_UNKNOWN"),
        (RuntimeError("whatever"), None),
    ],
)
def test_errors_carry_it_beside_their_details(start: Start, error: Exception, expected: str | None) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        start(failing(error)).stub().ask(ONE, metadata=GIVEN)
    assert told(caught.value.trailing_metadata()) == ["r-1"]
    if expected:
        assert reason(caught.value) == expected
    else:
        assert "request id: r-1" in explain(caught.value)


def test_who_is_not_let_in_is_told_it_too(start: Start) -> None:
    served = start()
    with pytest.raises(grpc.RpcError) as caught:
        SampleStub(served.channel(None)).ask(ONE, metadata=GIVEN)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert told(caught.value.trailing_metadata()) == ["r-1"]


def test_the_longest_id_leaves_room_for_the_most_violations(start: Start) -> None:
    error = InvalidArgument([FieldViolation(f"events[{n}].page", "ist zu läng ☃") for n in range(1_000)])
    with pytest.raises(grpc.RpcError) as caught:
        start(failing(error)).stub().ask(ONE, metadata=(("x-request-id", "r" * 128),))
    assert violations(caught.value)
    assert told(caught.value.trailing_metadata()) == ["r" * 128]


def test_whatever_is_logged_for_a_call_has_its_id(start: Start) -> None:
    lines: list[str] = []

    def note() -> None:
        lines.append(JsonLines().format(logging.makeLogRecord({"msg": "within", "levelname": "INFO"})))

    def ask(_request: object, _context: object) -> TrackEventsResponse:
        note()
        return TrackEventsResponse()

    def talk(requests: Iterable[object], _context: object) -> Iterable[TrackEventsResponse]:
        for _ in requests:
            note()
            yield TrackEventsResponse()

    stub = start(Sample(ask=ask, talk=talk)).stub()
    stub.ask(ONE, metadata=(("x-request-id", "first"),))
    list(stub.talk(iter([ONE, ONE]), metadata=(("x-request-id", "second"),)))
    note()
    assert [json.loads(line).get("request_id") for line in lines] == ["first", "second", "second", None]


def test_each_round_in_the_background_has_an_id_that_its_calls_carry(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "shared.calls")
    stub = start().stub()
    ids: list[str] = []

    def run() -> float:
        stub.ask(ONE)
        stub.ask(ONE)
        ids.append(current_request_id.get())
        return 0.0 if len(ids) < 2 else 60.0

    keeper = Housekeeper([Chore("asking", run)], CollectorRegistry())
    until(lambda: len(ids) == 2)
    keeper.stop()
    first, second = ids
    assert first != second
    calls = [vars(record)["request_id"] for record in caplog.records if record.name == "shared.calls"]
    assert calls == [first, first, second, second]


def test_a_chore_that_fails_says_in_which_round(caplog: pytest.LogCaptureFixture) -> None:
    formatter = JsonLines()
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(formatter.format(record))  # type: ignore[method-assign]  # where it is written
    logging.getLogger("shared.chores").addHandler(handler)
    ids: list[str] = []

    def run() -> float:
        ids.append(current_request_id.get())
        raise NotFound("none of that name", "THING_UNKNOWN")

    try:
        keeper = Housekeeper([Chore("failing", run)], CollectorRegistry())
        until(lambda: bool(lines))
        keeper.stop()
    finally:
        logging.getLogger("shared.chores").removeHandler(handler)
    assert json.loads(lines[0])["request_id"] == ids[0]
