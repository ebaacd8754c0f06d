"""What a refused call says."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


@dataclass(frozen=True)
class Refusal:
    """A status: its code and message, ErrorInfo's reason, and BadRequest's reasons by field."""

    code: grpc.StatusCode
    message: str
    reason: str
    fields: dict[str, str]


def attempt(call: Callable[[], Any]) -> Refusal | None:
    """Make a call; return what its status says where it is refused."""
    try:
        call()
    except grpc.RpcError as error:
        return _read(error)
    return None


def refusal(call: Callable[[], Any]) -> Refusal:
    """Make a call that must be refused; return what its status says."""
    refused = attempt(call)
    assert refused is not None, "it answered"
    return refused


def _read(error: Any) -> Refusal:  # noqa: ANN401 - an RpcError that is a Call as well
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        _ = detail.Unpack(info) or detail.Unpack(bad)
    return Refusal(
        error.code(),
        error.details(),
        info.reason,
        {violation.field: violation.description for violation in bad.field_violations},
    )
