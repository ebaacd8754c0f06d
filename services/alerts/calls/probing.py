"""Reads a metric once on behalf of somebody who names it, to tell what is wrong with it."""

from typing import TYPE_CHECKING

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from shared.errors import FailedPrecondition, FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from brain.metrics.v1.metrics_pb2 import MetricSeries

    from services.alerts.sources import Source, Wanted

_FIELD = "definition.metric"
_WRONG = {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
_AWAY = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}


def probe(source: "Source", wanted: "Wanted") -> "MetricSeries":
    """Return a series.

    Raise InvalidArgument for a metric that its service does not know, or not like this; what the service
    raises where it is away; FailedPrecondition (SOURCE_REFUSES) where it refuses this service.
    """
    try:
        return source.read_one(wanted)
    except grpc.RpcError as error:
        code = error.code()
        if code in _WRONG:
            raise InvalidArgument(_violations(error)) from error
        if code in _AWAY:
            raise
        raise FailedPrecondition(
            f"{source.name} refuses to be read by this service: {code.name}", "SOURCE_REFUSES"
        ) from error


def _violations(error: grpc.RpcError) -> list[FieldViolation]:
    """Return the violations with the names their fields have in a definition."""
    bad = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it is a call as well
    if any(detail.Unpack(bad) for detail in (status.details if status else ())):
        return [
            FieldViolation(each.field.replace("query", _FIELD, 1), each.description)
            for each in bad.field_violations
        ]
    return [FieldViolation(f"{_FIELD}.name", error.details() or "is unknown")]
