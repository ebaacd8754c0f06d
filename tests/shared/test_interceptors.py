"""What happens to every call, whatever its handler does."""

import json
import logging
from collections.abc import Callable, Iterator

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse

from shared import deadlines, request_id
from shared.auth import Role
from shared.calls import current_caller
from shared.errors import FieldViolation, InvalidArgument, NotFound, ResourceExhausted
from shared.logs import JsonLines
from tests.shared.conftest import Start
from tests.shared.sample_service import SERVICE, Sample, failing, reason, violations

ONE = TrackEventsRequest(events=[Event(event="viewed")])
BROKEN = (
    TrackEventsRequest(events=[Event(), Event(page="XX")]).SerializeToString().replace(b"XX", b"\xff\xfe")
)


def test_all_four_arities_answer(start: Start) -> None:
    stub = start().stub()
    assert stub.ask(ONE).accepted == 1
    assert stub.collect(iter([ONE, ONE, ONE])).accepted == 3
    assert [response.accepted for response in stub.watch(ONE)] == [1, 1]
    assert [response.accepted for response in stub.talk(iter([ONE, ONE]))] == [1, 1]


def test_an_error_of_the_family_reaches_the_caller_of_every_arity(start: Start) -> None:
    stub = start(failing(NotFound("no such thing", "THING_UNKNOWN"))).stub()
    calls: list[Callable[[], object]] = [
        lambda: stub.ask(ONE),
        lambda: stub.collect(iter([ONE])),
        lambda: list(stub.watch(ONE)),
        lambda: list(stub.talk(iter([ONE]))),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == "no such thing"
        assert reason(caught.value) == "THING_UNKNOWN"


def test_all_violations_reach_the_caller_at_once(start: Start) -> None:
    error = InvalidArgument([FieldViolation("a", "is required"), FieldViolation("b", "is negative")])
    with pytest.raises(grpc.RpcError) as caught:
        start(failing(error)).stub().ask(ONE)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert violations(caught.value) == {"a": "is required", "b": "is negative"}


def test_a_thousand_violations_still_fit_into_the_reply(start: Start) -> None:
    error = InvalidArgument([FieldViolation(f"events[{n}].page", "ist zu läng ☃") for n in range(1_000)])
    with pytest.raises(grpc.RpcError) as caught:
        start(failing(error)).stub().ask(ONE)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    told = violations(caught.value)
    assert "events[0].page" in told
    assert told[""] == f"and {1_001 - len(told)} more violations"


def test_an_unexpected_error_is_internal_and_tells_nothing(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    stub = start(failing(RuntimeError("password is hunter2"))).stub()
    calls: list[Callable[[], object]] = [lambda: stub.ask(ONE), lambda: list(stub.watch(ONE))]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert caught.value.details() == "internal error"
        assert "hunter2" not in str(caught.value.trailing_metadata())
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 2
    assert "hunter2" in json.loads(JsonLines().format(errors[0]))["trace"]


def test_a_handler_that_forgets_its_response_is_internal(start: Start) -> None:
    served = start(Sample(ask=lambda _request, _context: None))
    with pytest.raises(grpc.RpcError) as caught:
        served.stub().ask(ONE)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert caught.value.details() == "internal error"


def test_broken_utf8_names_the_field(start: Start) -> None:
    stub = start().stub()
    calls: list[Callable[[], object]] = [
        lambda: stub.ask_raw(BROKEN),
        lambda: list(stub.talk_raw(iter([BROKEN]))),
    ]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert violations(caught.value) == {"events[1].page": "is not valid UTF-8"}


def test_a_stream_keeps_what_came_before_broken_utf8(start: Start) -> None:
    responses = start().stub().talk_raw(iter([ONE.SerializeToString(), BROKEN]))
    assert next(responses).accepted == 1
    with pytest.raises(grpc.RpcError) as caught:
        next(responses)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_unknown_method_is_unimplemented(start: Start) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        start().stub().missing(ONE)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_method_without_a_role_refuses_even_an_administrator(start: Start) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        start().stub(Role.ADMIN).undeclared(ONE)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason(caught.value) == "ROLE_UNDECLARED"


def test_a_caller_needs_the_methods_role_or_admin(start: Start) -> None:
    served = start()
    assert served.stub(Role.ADMIN).ask(ONE).accepted == 1
    with pytest.raises(grpc.RpcError) as caught:
        served.stub(Role.INGEST).ask(ONE)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert reason(caught.value) == "ROLE_MISSING"


def test_streams_ask_for_a_token_too(start: Start) -> None:
    served = start()
    stub = type(served.stub())(served.channel(None))
    calls: list[Callable[[], object]] = [lambda: list(stub.watch(ONE)), lambda: list(stub.talk(iter([ONE])))]
    for call in calls:
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert reason(caught.value) == "TOKEN_MISSING"


def test_strangers_are_refused_before_their_message_is_read(start: Start) -> None:
    served = start()
    with pytest.raises(grpc.RpcError) as caught:
        type(served.stub())(served.channel(None)).ask_raw(BROKEN)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_scheme_other_than_bearer_is_refused(start: Start) -> None:
    served = start()
    stub = type(served.stub())(served.channel(None))
    with pytest.raises(grpc.RpcError) as caught:
        stub.ask(ONE, metadata=(("authorization", "Basic abc"),))
    assert reason(caught.value) == "TOKEN_INVALID"


def test_a_handler_knows_the_request_id(start: Start) -> None:
    known: list[str] = []

    def ask(_request: object, _context: object) -> TrackEventsResponse:
        known.append(request_id.current_request_id.get())
        return TrackEventsResponse()

    start(Sample(ask=ask)).stub().ask(ONE, metadata=(("x-request-id", "from-afar"),))
    assert known == ["from-afar"]


def test_a_handler_knows_how_long_its_caller_waits(start: Start) -> None:
    known: list[float] = []

    def ask(_request: object, _context: object) -> TrackEventsResponse:
        known.append(deadlines.remaining_seconds())
        return TrackEventsResponse()

    def collect(requests: object, context: object) -> TrackEventsResponse:
        return ask(requests, context)

    stub = start(Sample(ask=ask, collect=collect)).stub()
    stub.ask(ONE, timeout=20)
    stub.collect(iter([ONE]))
    assert 10 < known[0] <= 20.2  # gRPC rounds what it sends of it up, to tenths of a second from 10 s on
    assert known[1] > 1e6, "no deadline, no end"


def test_each_call_leaves_one_line_with_its_fields(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.calls")
    served = start(failing(ResourceExhausted("full", "FULL", retry_seconds=2)))
    with pytest.raises(grpc.RpcError):
        served.stub().ask(ONE, metadata=(("x-request-id", "r-1"),))
    [record] = [record for record in caplog.records if record.name == "shared.calls"]
    line = json.loads(JsonLines().format(record))
    assert line.pop("duration_ms") > 0
    assert line.pop("time")
    assert line == {
        "level": "INFO",
        "logger": "shared.calls",
        "message": "call",
        "method": f"/{SERVICE}/Ask",
        "code": "RESOURCE_EXHAUSTED",
        "request_id": "r-1",
        "caller": "somebody",
        "reason": "FULL",
    }


def test_a_request_id_nobody_should_log_is_replaced(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.calls")
    start().stub().ask(ONE, metadata=(("x-request-id", "x" * 129),))
    [record] = [record for record in caplog.records if record.name == "shared.calls"]
    assert len(vars(record)["request_id"]) == 32


def test_calls_and_messages_are_counted(start: Start) -> None:
    served = start()
    stub = served.stub()
    stub.ask(ONE)
    list(stub.talk(iter([ONE, ONE, ONE])))
    with pytest.raises(grpc.RpcError):
        stub.ask_raw(BROKEN)
    unary = {"grpc_method": "Ask", "grpc_type": "unary"}
    stream = {"grpc_method": "Talk", "grpc_type": "bidi_stream"}
    assert served.counted("grpc_server_started_total", **unary) == 2
    assert served.counted("grpc_server_handled_total", **unary, grpc_code="OK") == 1
    assert served.counted("grpc_server_handled_total", **unary, grpc_code="InvalidArgument") == 1
    assert served.counted("grpc_server_handling_seconds_count", **unary) == 2
    assert served.counted("grpc_server_msg_received_total", **stream) == 3
    assert served.counted("grpc_server_msg_sent_total", **stream) == 3


def test_a_handler_can_ask_who_calls(start: Start) -> None:
    callers: list[str] = []

    def ask(_request: object, _context: grpc.ServicerContext) -> TrackEventsResponse:
        callers.append(current_caller().subject)
        return TrackEventsResponse()

    start(Sample(ask, ask, one_answer, one_answer)).stub().ask(ONE)
    assert callers == ["somebody"]


def one_answer(_request: object, _context: grpc.ServicerContext) -> Iterator[TrackEventsResponse]:
    yield TrackEventsResponse()
