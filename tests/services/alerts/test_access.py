"""Who may call what, for every RPC that is served."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from services.alerts.application import SERVICES
from shared.auth import Role, mint_token, required_role
from shared.clients import channel
from tests.refusals import attempt
from tests.services.alerts.conftest import Service

METHODS: list[MethodDescriptor] = [
    method for service in SERVICES for method in descriptor_pool.Default().FindServiceByName(service).methods
]


def full_name(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.mark.parametrize("role", [None, *Role])
def test_every_rpc_answers_to_its_role_alone(
    role: Role | None, service: Service, stack: ExitStack, token_keys: tuple[bytes, bytes]
) -> None:
    token = mint_token(token_keys[0], "somebody", [role], None, 0) if role else None
    address = f"127.0.0.1:{service.application.server.port}"
    calls: Any = stack.enter_context(channel(address, token))
    assert len(METHODS) >= 21
    for method in METHODS:
        name = full_name(method)
        refused = attempt(partial(calls.unary_unary(name), b""))
        code = refused.code if refused else grpc.StatusCode.OK
        if role is None:
            assert code is grpc.StatusCode.UNAUTHENTICATED, name
        elif role is Role.ADMIN or required_role(name) is role:
            assert code not in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}, name
        else:
            assert code is grpc.StatusCode.PERMISSION_DENIED, name


def test_nothing_an_empty_request_can_do_is_a_fault_of_ours(service: Service) -> None:
    calls: Any = service.channel
    for method in METHODS:
        name = full_name(method)
        refused = attempt(partial(calls.unary_unary(name), b""))
        code = refused.code if refused else grpc.StatusCode.OK
        assert code in {
            grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND,
        }, name  # fmt: skip
