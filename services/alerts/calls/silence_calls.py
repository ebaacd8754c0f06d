"""The calls about silences."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from brain.alerts.v1 import alerts_pb2 as pb

from services.alerts import definitions, messages
from services.alerts.store import silences, states
from services.alerts.store.silences import KeptSilence
from shared import audit
from shared.audit import AuditEntry
from shared.calendar import to_datetime_utc, to_micros
from shared.calls import current_caller
from shared.errors import AlreadyExists
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, instant, page_size, text

if TYPE_CHECKING:
    import grpc
    from brain.alerts.v1 import alert_pb2
    from sqlalchemy import Engine

_MAXIMUM_IDS = 1_000
_MAXIMUM_COMMENT = 1_000


@dataclass(frozen=True)
class SilenceCalls:
    """Makes, lists and ends silences."""

    engine: "Engine"
    clock: Callable[[], int]

    def CreateSilence(
        self, request: pb.CreateSilenceRequest, context: "grpc.ServicerContext"
    ) -> pb.CreateSilenceResponse:
        """Make a silence."""
        made = _read(request.silence)
        with self.engine.begin() as connection:
            if silences.add(connection, made):
                entry = AuditEntry(made.created_by, "CreateSilence", made.silence_id, {})
                audit.record(connection, entry)
            kept = silences.read(connection, made.silence_id)
        if replace(kept, created_by=made.created_by) != made:
            raise AlreadyExists(f"another silence has the id {made.silence_id!r}", "SILENCE_ALREADY_EXISTS")
        return pb.CreateSilenceResponse(silence=messages.silence(kept))

    def ListSilences(
        self, request: pb.ListSilencesRequest, context: "grpc.ServicerContext"
    ) -> pb.ListSilencesResponse:
        """List silences, those that end last first."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (int, str))
        violations.raise_if_any()
        with self.engine.begin() as connection:
            found = silences.list_kept(
                connection, after, self.clock(), size + 1, unexpired_only=request.unexpired_only
            )
        page = found[:size]
        token = ""
        if len(found) > size:
            token = encode_token(request, [to_micros(page[-1].end_time), page[-1].silence_id])
        return pb.ListSilencesResponse(silences=map(messages.silence, page), next_page_token=token)

    def ExpireSilence(
        self, request: pb.ExpireSilenceRequest, context: "grpc.ServicerContext"
    ) -> pb.ExpireSilenceResponse:
        """End a silence; what it held is told at once."""
        now = self.clock()
        with self.engine.begin() as connection:
            kept = silences.read(connection, request.silence_id)
            if to_micros(kept.end_time) > now:
                silences.expire(connection, request.silence_id, now)
                entry = AuditEntry(current_caller().subject, "ExpireSilence", request.silence_id, {})
                audit.record(connection, entry)
                states.wake(connection, now)
                kept = silences.read(connection, request.silence_id)
        return pb.ExpireSilenceResponse(silence=messages.silence(kept))


def _read(silence: "alert_pb2.Silence") -> KeptSilence:
    violations = Violations()
    definitions.check_id(violations, "silence.silence_id", silence.silence_id)
    if len(silence.alert_ids) > _MAXIMUM_IDS:
        violations.add("silence.alert_ids", f"at most {_MAXIMUM_IDS:,}")
    for index, alert_id in enumerate(silence.alert_ids[:_MAXIMUM_IDS]):
        definitions.check_id(violations, f"silence.alert_ids[{index}]", alert_id)
    bounds = []
    for name in ("start_time", "end_time"):
        if not silence.HasField(name):
            violations.add(f"silence.{name}", "is required")
        bounds.append(instant(violations, f"silence.{name}", getattr(silence, name)) or 0)
    start, end = bounds
    if start >= end:
        violations.add("silence.end_time", "must be later than start_time")
    made = KeptSilence(
        silence_id=silence.silence_id,
        alert_ids=list(silence.alert_ids),
        labels=definitions.labels(violations, "silence.labels", silence.labels),
        start_time=to_datetime_utc(start),
        end_time=to_datetime_utc(end),
        comment=text(
            violations, "silence.comment", silence.comment, maximum=_MAXIMUM_COMMENT, required=False
        ),
        created_by=current_caller().subject,
    )
    violations.raise_if_any()
    return made
