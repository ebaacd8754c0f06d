"""OpenTelemetry's log records taken in as events, over OTLP.

https://opentelemetry.io/docs/specs/otlp/ tells what exporters expect.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from services.events.ingest.tracking import MAXIMUM_EVENTS, Tracking
from services.events.log_records.export import read_export
from services.events.log_records.mapping import Mapper
from shared.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    import grpc
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
    )

    from services.events.domain import Who
    from shared.encryption import BlindIndex

# Collectors send batches of 8,192 unless they are told otherwise.
MAXIMUM_RECORDS = 20_000


@dataclass(frozen=True)
class LogCalls:
    """Stores log records that have an event name."""

    tracking: Tracking
    mapper: Mapper

    @classmethod
    def made_with(cls, tracking: Tracking, blind_index: "BlindIndex") -> Self:
        """Name sessions that senders leave open by a keyed digest: they are stored readable, ids are not."""

        def session_of(who: "Who") -> str:
            return blind_index.digest(f"session:{who[0].value}:{who[1]}").hex()

        return cls(tracking, Mapper(session_of))

    def Export(
        self, request: "ExportLogsServiceRequest", context: "grpc.ServicerContext"
    ) -> "ExportLogsServiceResponse":
        """Store events; what is refused is told, and spoils nothing else.

        More than a batch of TrackEvents is stored in several. Where one fails, the exporter sends all again,
        and what is stored counts as duplicates.
        """
        self.tracking.admit(_number_of(request))
        export = read_export(request, self.mapper)
        unfit = len(export.refused)
        for start in range(0, len(export.events), MAXIMUM_EVENTS):
            tracked = self.tracking.store(export.events[start : start + MAXIMUM_EVENTS])
            export.rejected(start, tracked.rejections)
        self.tracking.refuse(unfit)
        return export.response()


def _number_of(request: "ExportLogsServiceRequest") -> int:
    """Return how many records an export has; raise InvalidArgument for too many, or too much around them."""
    resources = request.resource_logs
    number = len(resources)
    if number <= MAXIMUM_RECORDS:
        number = max(number, sum(len(logs.scope_logs) for logs in resources))
    if number > MAXIMUM_RECORDS:
        raise _too_many("resources or scopes", number)
    number = sum(len(scope.log_records) for logs in resources for scope in logs.scope_logs)
    if number > MAXIMUM_RECORDS:
        raise _too_many("log records", number)
    return number


def _too_many(things: str, number: int) -> InvalidArgument:
    reason = f"at most {MAXIMUM_RECORDS:,} {things} in an export, not {number:,}"
    return InvalidArgument([FieldViolation("resource_logs", reason)])
