"""The events of one export, where each stands in it, and what is refused of it."""

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceResponse,
)

from services.events.log_records.mapping import Mapper, read_origin, source_of
from services.events.log_records.record_ids import RecordIds, digest_of
from services.events.log_records.values import UnfitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.events.v1.events_pb2 import Event, Rejection
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

# So many are told of in an answer; the first ones show what is wrong with a sender.
_TOLD = 5


class Place(NamedTuple):  # made for every record: a frozen dataclass takes three times as long
    """Where a record stands in an export."""

    resource: int
    scope: int
    record: int

    def __str__(self) -> str:
        return f"resource_logs[{self.resource}].scope_logs[{self.scope}].log_records[{self.record}]"


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that is not stored, the field at fault, and why."""

    place: Place
    field: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}.{self.field} {self.reason}"


@dataclass(frozen=True, slots=True)
class Export:
    """Events with the records that they were made of and where those stand, and what is no event."""

    events: "list[Event]" = field(default_factory=list)
    records: "list[LogRecord]" = field(default_factory=list)
    places: list[Place] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)

    def rejected(self, start: int, rejections: "Sequence[Rejection]") -> None:
        """Note what became of events from `start` on, by the names of what they were made of."""
        for each in rejections:
            number = start + each.index
            source = source_of(each.field, self.records[number])
            self.refused.append(Refused(self.places[number], source, each.reason))

    def response(self) -> ExportLogsServiceResponse:
        """Return the answer; only what is refused is told, as OTLP has it."""
        number = len({each.place for each in self.refused})
        if not number:
            return ExportLogsServiceResponse()
        told = "; ".join(map(str, self.refused[:_TOLD]))
        more = "; and more" if len(self.refused) > _TOLD else ""
        return ExportLogsServiceResponse(
            partial_success=ExportLogsPartialSuccess(
                rejected_log_records=number, error_message=f"{told}{more}"
            )
        )


def read_export(request: "ExportLogsServiceRequest", mapper: Mapper) -> Export:
    """Make the records of an export into events."""
    export, ids = Export(), RecordIds()
    for resource_number, logs in enumerate(request.resource_logs):
        origin, whole = read_origin(logs.resource), digest_of(logs.resource)
        for scope_number, scope in enumerate(logs.scope_logs):
            source = whole + digest_of(scope.scope)
            for number, record in enumerate(scope.log_records):
                place = Place(resource_number, scope_number, number)
                try:
                    event = mapper.event(record, origin, partial(ids.next_id, source, record))
                except UnfitError as unfit:
                    export.refused.append(Refused(place, unfit.field, unfit.reason))
                else:
                    export.events.append(event)
                    export.records.append(record)
                    export.places.append(place)
    return export
