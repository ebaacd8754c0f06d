"""Calls a minute, per caller."""

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from shared import auth
from shared.auth import Role
from tests.shared.conftest import Start
from tests.shared.sample_service import SampleStub, reason

ONE = TrackEventsRequest(events=[Event()])


def test_calls_beyond_a_minutes_are_refused_and_told_when_to_come_again(
    start: Start, token_keys: tuple[bytes, bytes]
) -> None:
    served = start(calls_per_minute=3)
    stub = served.stub()
    stub.ask(ONE)
    assert len(list(stub.watch(ONE))) == 2, "a stream is one call"
    stub.ask(ONE)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ask(ONE)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason(caught.value) == "RATE_LIMITED"
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]  # errors of calls are calls
    assert status is not None
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status.details)
    assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 20
    somebody_else = auth.mint_token(token_keys[0], "another", [Role.ANALYST], None, 0)
    assert SampleStub(served.channel(somebody_else)).ask(ONE).accepted == 1
    check = health_pb2_grpc.HealthStub(served.channel()).Check(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]  # stubs lack it
    assert check.status == health_pb2.HealthCheckResponse.SERVING


def test_refused_tokens_take_nothing_from_a_quota(start: Start) -> None:
    served = start(calls_per_minute=1)
    for token in (served.token(Role.INGEST), served.token(Role.ANALYST) + "x", ""):
        with pytest.raises(grpc.RpcError) as caught:
            SampleStub(served.channel(token)).ask(ONE)
        assert caught.value.code() in {
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.UNAUTHENTICATED,
        }
    assert served.stub().ask(ONE).accepted == 1
