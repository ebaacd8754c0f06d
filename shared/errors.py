# ruff: noqa: N818 - these carry the names of gRPC's codes, as callers know them
"""The one error family on the wire.

Code raises these where the fact is known; the interceptor alone turns them into a status.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

ERROR_DOMAIN = "brain"

# A status travels in HTTP/2 trailers, which peers cut off at 8 KiB, once as text and once as details.
_MESSAGE_CHARACTERS = 1_000
_DETAIL_CHARACTERS = 2_500


class ServiceError(Exception):
    """An error a caller may see: a code, a message for people, a reason (UPPER_SNAKE) for programs."""

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.UNKNOWN

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason

    def details(self) -> list[Message]:
        """Return the messages of google.rpc that a program reads."""
        return [error_details_pb2.ErrorInfo(reason=self.reason, domain=ERROR_DOMAIN)]

    def to_status(self) -> status_pb2.Status:
        """Return the google.rpc.Status, small enough for every peer's header limit."""
        number: int = self.code.value[0]
        status = status_pb2.Status(code=number, message=_sendable(self.message, _MESSAGE_CHARACTERS))
        for detail in self.details():
            status.details.add().Pack(detail)
        return status


class NotFound(ServiceError):
    """What was asked for does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class AlreadyExists(ServiceError):
    """Something else has this id."""

    code = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(ServiceError):
    """The state does not allow it; sending it again is no use until the state changes."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class Aborted(ServiceError):
    """A concurrent change came first; the caller may read again and retry."""

    code = grpc.StatusCode.ABORTED


class Unavailable(ServiceError):
    """Something this service needs is away; retrying is right."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(ServiceError):
    """The work took longer than it may."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class PermissionDenied(ServiceError):
    """The caller is known and may not."""

    code = grpc.StatusCode.PERMISSION_DENIED


class Unauthenticated(ServiceError):
    """The caller is not known."""

    code = grpc.StatusCode.UNAUTHENTICATED


class ResourceExhausted(ServiceError):
    """A limit is reached; `retry_seconds` says when to try again, where that is known."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED

    def __init__(self, message: str, reason: str, retry_seconds: float | None = None) -> None:
        super().__init__(message, reason)
        self.retry_seconds = retry_seconds

    def details(self) -> list[Message]:
        """Return ErrorInfo and, where the delay is known, RetryInfo."""
        if self.retry_seconds is None:
            return super().details()
        delay = Duration()
        delay.FromNanoseconds(round(self.retry_seconds * 1e9))
        return [*super().details(), error_details_pb2.RetryInfo(retry_delay=delay)]


@dataclass(frozen=True)
class FieldViolation:
    """What is wrong with one field: its path in the request (`queries[3].name`) and why."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}" if self.field else self.reason


class InvalidArgument(ServiceError):
    """The request itself is wrong; all violations are told at once."""

    code = grpc.StatusCode.INVALID_ARGUMENT

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__("; ".join(map(str, violations)), "INVALID_ARGUMENT")
        self.violations = tuple(violations)

    def details(self) -> list[Message]:
        """Return a BadRequest with as many violations as fit; the last one counts those left out."""
        shown = list(_fitting(self.violations))
        left_out = len(self.violations) - len(shown)
        if left_out:
            shown.append(FieldViolation("", f"and {left_out} more violations"))
        request = error_details_pb2.BadRequest()
        for violation in shown:
            request.field_violations.add(field=violation.field, description=violation.reason)
        return [request]


def _fitting(violations: Iterable[FieldViolation]) -> Iterable[FieldViolation]:
    room = _DETAIL_CHARACTERS
    for violation in violations:
        shown = FieldViolation(_sendable(violation.field, 200), _sendable(violation.reason, 500))
        room -= len(json.dumps(str(shown)))
        if room < 0:
            return
        yield shown


def _sendable(text: str, maximum: int) -> str:
    """Cut `text`, and replace lone surrogates, which no protobuf string may hold."""
    whole = text.encode("utf-8", "replace").decode()
    return whole if len(whole) <= maximum else f"{whole[: maximum - 1]}…"
