"""Makes errors of the services readable, and reads what they advise."""

from collections.abc import Iterator
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

_STATUS_KEY = "grpc-status-details-bin"
Detail = TypeVar("Detail", bound=Message)


def explain(error: grpc.RpcError) -> str:
    """Return code, message and, line by line, every bad field: for people at a terminal.

    Where the fault is the server's, the request id too, which finds it in the logs.
    """
    call = as_call(error)
    if call is None:
        return str(error) or type(error).__name__
    violations = [
        f"  {violation.field}: {violation.description}"
        for request in _details(call, error_details_pb2.BadRequest)
        for violation in request.field_violations
    ]
    reasons = [f"  reason: {info.reason}" for info in _details(call, error_details_pb2.ErrorInfo)]
    if violations:
        return "\n".join([f"{call.code().name}: the request has bad fields", *violations])
    requests = [f"  request id: {info.request_id}" for info in _details(call, error_details_pb2.RequestInfo)]
    return "\n".join([f"{call.code().name}: {call.details()}", *reasons, *requests])


def as_call(error: object) -> grpc.Call | None:
    """Return the error as the finished call that it is; None for the few that never were a call."""
    return error if isinstance(error, grpc.Call) else None


def advised_delay(error: grpc.RpcError) -> float | None:
    """Return the seconds the server asks to wait before a retry; None where it does not say."""
    call = as_call(error)
    for info in _details(call, error_details_pb2.RetryInfo) if call else ():
        return float(info.retry_delay.ToTimedelta().total_seconds())
    return None


def _details(call: grpc.Call, kind: type[Detail]) -> Iterator[Detail]:
    for packed in _status(call).details:
        detail = kind()
        if packed.Is(detail.DESCRIPTOR) and packed.Unpack(detail):
            yield detail


def _status(call: grpc.Call) -> status_pb2.Status:
    for key, value in call.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:  # a proxy mangled it; the code and message still tell something
                break
    return status_pb2.Status()
