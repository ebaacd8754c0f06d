"""Who may call what: every RPC that a running service serves, asked with every role."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import MethodDescriptor

from shared.auth import Role, mint_token, required_role
from shared.clients import channel
from tests.refusals import attempt

_ROLE_REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
_FAULTS_OF_THE_CALLER = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
}


def methods_of(services: Iterable[str]) -> list[MethodDescriptor]:
    """Return every RPC of the services of these full names."""
    pool = descriptor_pool.Default()
    return [method for service in services for method in pool.FindServiceByName(service).methods]


def full_name(method: MethodDescriptor) -> str:
    """Return how gRPC calls it."""
    return f"/{method.containing_service.full_name}/{method.name}"


def check_that_rpcs_answer_to_their_role_alone(
    port: int, services: Iterable[str], role: Role | None, signing_key: bytes
) -> None:
    """Call everything with a token of one role, or without any."""
    token = mint_token(signing_key, "somebody", [role], None, 0) if role else None
    with channel(f"127.0.0.1:{port}", token) as opened:
        for method in methods_of(services):
            name = full_name(method)
            code = _code_of_an_empty_request(opened, name)
            if role is None:
                assert code is grpc.StatusCode.UNAUTHENTICATED, name
            elif role is Role.ADMIN or required_role(name) is role:
                assert code not in _ROLE_REFUSALS, name
            else:
                assert code is grpc.StatusCode.PERMISSION_DENIED, name


def check_that_empty_requests_are_no_fault_of_ours(opened: grpc.Channel, services: Iterable[str]) -> None:
    """Call everything with an empty request, which is an answer or the caller's fault."""
    for method in methods_of(services):
        name = full_name(method)
        assert _code_of_an_empty_request(opened, name) in _FAULTS_OF_THE_CALLER, name


def _code_of_an_empty_request(opened: Any, name: str) -> grpc.StatusCode:  # noqa: ANN401 - bytes go in
    refused = attempt(partial(opened.unary_unary(name), b""))
    return refused.code if refused else grpc.StatusCode.OK
