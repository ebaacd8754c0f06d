"""What went wrong, as HTTP and JSON tell it: one shape for every route."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from gateway.services import NotConnectedError
from shared.errors import FieldViolation, ServiceError
from shared.request_id import current_request_id

_HTTP_CODES: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.FAILED_PRECONDITION: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.CANCELLED: 503,  # by a service that stops
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_STATUSES = {code.value[0]: code for code in grpc.StatusCode}
_RETRIED = frozenset({429, 503})
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Failure:
    """An error a caller may see: `code` is HTTP's, `reason` (UPPER_SNAKE) is for programs."""

    code: int
    reason: str
    message: str
    fields: tuple[FieldViolation, ...] = ()
    retry_seconds: float | None = None


class Refused(Exception):  # noqa: N818 - what happened, as the services' errors are named
    """A failure that was made ready for the caller where more was known of the request."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


INTERNAL = Failure(500, "INTERNAL", "internal error")


def of_error(error: Exception) -> Failure:
    """Return what a caller may know of an error; INTERNAL where it is a fault of ours."""
    if isinstance(error, Refused):
        return error.failure
    if isinstance(error, grpc.aio.AioRpcError):
        return _of_status(_status(error))
    if isinstance(error, ServiceError):
        return _of_status(error.to_status())
    if isinstance(error, NotConnectedError):
        return Failure(HTTPStatus.NOT_IMPLEMENTED, "NOT_CONNECTED", str(error))
    if isinstance(error, HTTPException):
        phrase = HTTPStatus(error.status_code).phrase
        reason = phrase.upper().replace(" ", "_").replace("-", "_")
        return Failure(error.status_code, reason, error.detail or phrase)
    return INTERNAL


def renamed(failure: Failure, name: Callable[[str], str]) -> Failure:
    """Return the failure with its fields as the caller knows them."""
    fields = tuple(FieldViolation(name(each.field), each.reason) for each in failure.fields)
    message = "; ".join(map(str, fields)) if fields else failure.message
    return replace(failure, fields=fields, message=message)


def response(failure: Failure, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the failure as JSON, with the headers that belong to its code."""
    error: dict[str, object] = {
        "code": failure.code,
        "reason": failure.reason,
        "message": failure.message,
        "requestId": current_request_id.get(),
    }
    if failure.fields:
        error["fields"] = [{"field": each.field, "reason": each.reason} for each in failure.fields]
    return JSONResponse({"error": error}, failure.code, {**(headers or {}), **_headers(failure)})


def _headers(failure: Failure) -> dict[str, str]:
    if failure.code == HTTPStatus.UNAUTHORIZED:
        return {"www-authenticate": "Bearer"}
    if failure.code in _RETRIED:
        return {"retry-after": str(math.ceil(failure.retry_seconds or _RETRY_SECONDS))}
    return {}


def _status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    # A call that never reached the service has no google.rpc.Status.
    known = rpc_status.from_call(error)  # type: ignore[arg-type]  # an AioRpcError has what it asks for
    return known or status_pb2.Status(code=error.code().value[0])


def _of_status(status: status_pb2.Status) -> Failure:
    code = _STATUSES.get(status.code, grpc.StatusCode.UNKNOWN)
    number = _HTTP_CODES.get(code)
    if number is None:
        return INTERNAL
    reason, fields, retry_seconds = _details(status)
    message = status.message or "a service behind the gateway is away"
    return Failure(number, reason or code.name, message, tuple(fields), retry_seconds)


def _details(status: status_pb2.Status) -> tuple[str, Sequence[FieldViolation], float | None]:
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for known in (info, request, retry):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    fields = [FieldViolation(each.field, each.description) for each in request.field_violations]
    delay = retry.retry_delay.ToNanoseconds() / 1e9
    return info.reason, fields, delay or None
