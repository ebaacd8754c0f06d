"""Who may call what, on a running service, for every RPC that it serves."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import grpc
import pytest
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from services.events.application import SERVICES
from shared.auth import OPEN_SERVICES, Role, generate_keys, mint_token, required_role
from shared.clients import channel
from tests.access import full_name, methods_of
from tests.refusals import attempt, refusal
from tests.services.events.conftest import Service

REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
METHODS = methods_of(SERVICES)
# A complete event, so that the refusal and nothing else keeps it out.
EVENT = pb.Event(user_id="ann", session_id="s", event="looked")

Connect = Callable[[str | None], grpc.Channel]


@pytest.fixture
def connect(service: Service) -> Iterator[Connect]:
    """Opens a channel that carries a token."""
    with ExitStack() as stack:
        address = f"127.0.0.1:{service.application.server.port}"
        yield lambda token: stack.enter_context(channel(address, token))


def request_of(method: MethodDescriptor) -> bytes:
    if method.name == "TrackEvent":
        return pb.TrackEventRequest(event=EVENT).SerializeToString()
    if method.name in {"TrackEvents", "TrackEventStream"}:
        return pb.TrackEventsRequest(events=[EVENT]).SerializeToString()
    return b""


def outcome(calls: Any, method: MethodDescriptor) -> tuple[grpc.StatusCode, str]:  # noqa: ANN401 - bytes go in
    """Call once; return the code, and the reason of a refusal."""
    name, request = full_name(method), request_of(method)

    def call() -> object:
        if method.client_streaming:
            return list(calls.stream_stream(name)(iter([request]), timeout=10))
        if method.server_streaming:
            return list(calls.unary_stream(name)(request))
        return calls.unary_unary(name)(request)

    refused = attempt(call)
    return (refused.code, refused.reason) if refused else (grpc.StatusCode.OK, "")


def token_of(token_keys: tuple[bytes, bytes], *roles: Role) -> str:
    return mint_token(token_keys[0], "somebody", roles, None, 0)


def test_nothing_is_served_but_what_these_tests_walk(service: Service) -> None:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = stub.ServerReflectionInfo(iter([request]))
    served = {each.name for each in answer.list_services_response.service}
    assert served == set(SERVICES) | (served & OPEN_SERVICES)
    assert len(METHODS) >= 13


def test_no_rpc_answers_without_a_token(connect: Connect) -> None:
    calls = connect(None)
    assert {full_name(method): outcome(calls, method) for method in METHODS} == {
        full_name(method): (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_MISSING") for method in METHODS
    }


def test_no_rpc_answers_to_a_token_signed_by_somebody_else(connect: Connect) -> None:
    calls = connect(token_of(generate_keys(), Role.ADMIN))
    assert {outcome(calls, method) for method in METHODS} == {
        (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_INVALID")
    }


def test_no_rpc_answers_to_a_token_that_has_expired(
    connect: Connect, token_keys: tuple[bytes, bytes]
) -> None:
    calls = connect(mint_token(token_keys[0], "somebody", [Role.ADMIN], 60, 1_000_000))
    assert {outcome(calls, method) for method in METHODS} == {
        (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    }


@pytest.mark.parametrize(
    "roles",
    [(), (Role.INGEST,), (Role.ANALYST,), (Role.INGEST, Role.ANALYST), (Role.ADMIN,)],
    ids=lambda roles: "+".join(role.name.lower() for role in roles) or "none",
)
def test_every_rpc_answers_to_its_role_alone(
    roles: tuple[Role, ...], connect: Connect, token_keys: tuple[bytes, bytes]
) -> None:
    calls = connect(token_of(token_keys, *roles))
    for method in METHODS:
        code, why = outcome(calls, method)
        if Role.ADMIN in roles or required_role(full_name(method)) in roles:
            assert code not in REFUSALS, full_name(method)
        else:
            assert (code, why) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_MISSING"), full_name(method)


def test_an_ingest_token_tracks_and_cannot_read(
    connect: Connect, service: Service, token_keys: tuple[bytes, bytes]
) -> None:
    events = EventsServiceStub(connect(token_of(token_keys, Role.INGEST)))
    events.TrackEvent(pb.TrackEventRequest(event=EVENT))
    refused = refusal(lambda: events.QueryEvents(pb.QueryEventsRequest()))
    assert refused.code is grpc.StatusCode.PERMISSION_DENIED
    assert len(service.events.QueryEvents(pb.QueryEventsRequest()).events) == 1


def test_an_analyst_token_reads_and_cannot_track(
    connect: Connect, service: Service, token_keys: tuple[bytes, bytes]
) -> None:
    events = EventsServiceStub(connect(token_of(token_keys, Role.ANALYST)))
    batch = pb.TrackEventsRequest(events=[EVENT])
    stream_batch = pb.TrackEventStreamRequest(events=[EVENT])
    for call in (
        lambda: events.TrackEvent(pb.TrackEventRequest(event=EVENT)),
        lambda: events.TrackEvents(batch),
        lambda: list(events.TrackEventStream(iter([stream_batch]), timeout=10)),
    ):
        assert refusal(call).code is grpc.StatusCode.PERMISSION_DENIED
    assert not events.QueryEvents(pb.QueryEventsRequest()).events
    service.events.TrackEvents(batch)
    assert len(events.QueryEvents(pb.QueryEventsRequest()).events) == 1


def test_health_is_open_to_all(connect: Connect) -> None:
    health: Any = health_pb2_grpc.HealthStub(connect(None))
    for name in ("", *SERVICES):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
