"""The calls that make alerts, change them and list them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1 import definition_pb2

from services.alerts import definitions
from services.alerts.calls.changing import Changes
from services.alerts.calls.probing import probe
from services.alerts.condition import Condition
from services.alerts.sources import Source, Wanted
from services.alerts.store import alerts, states
from services.alerts.store.recipients import normalised
from shared.attempts import is_retry
from shared.calls import current_caller
from shared.errors import AlreadyExists, FailedPrecondition, NotFound
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Connection, Engine

    from services.alerts.calls.showing import Showing
    from services.alerts.channels import RecipientChecks
    from services.alerts.plan import ChannelKind, Plan, Recipient
    from services.alerts.store.alerts import Kept

_MAXIMUM_RECENT = 100


@dataclass(frozen=True)
class AlertCalls:
    """Makes, changes, pauses, deletes, acknowledges and lists alerts."""

    engine: "Engine"
    sources: Mapping[str, Source]
    checks: "RecipientChecks"
    changes: Changes
    showing: "Showing"
    clock: Callable[[], int]

    def CreateAlert(
        self, request: pb.CreateAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.CreateAlertResponse:
        """Make an alert."""
        violations = Violations()
        definitions.check_id(violations, "alert_id", request.alert_id)
        plan, recipients = self._read(violations, request)
        with self.engine.begin() as connection:
            kept = alerts.find(connection, request.alert_id)
            if kept is not None:
                self._refuse_another(connection, kept, request.definition, recipients)
                return pb.CreateAlertResponse(alert=self.showing.one(connection, request.alert_id))
        self._probe(plan)
        warnings = self.checks.warnings(recipients)
        with self.engine.begin() as connection:
            alerts.lock_id(connection, request.alert_id)
            kept = alerts.find(connection, request.alert_id)
            if kept is None:
                self.changes.add(connection, request.alert_id, request.definition, plan, recipients)
            else:
                self._refuse_another(connection, kept, request.definition, recipients)
            shown = self.showing.one(connection, request.alert_id)
        return pb.CreateAlertResponse(alert=shown, warnings=warnings)

    def UpdateAlert(
        self, request: pb.UpdateAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.UpdateAlertResponse:
        """Replace a definition."""
        violations = Violations()
        plan, recipients = self._read(violations, request)
        with self.engine.begin() as connection:
            alerts.read(connection, request.alert_id)
        self._probe(plan)
        warnings = self.checks.warnings(recipients)
        with self.engine.begin() as connection:
            alerts.lock_id(connection, request.alert_id)
            kept = alerts.read(connection, request.alert_id)
            if not self._is(connection, kept, request.definition, recipients):
                self.changes.redefine(connection, kept, request.definition, plan, recipients)
            shown = self.showing.one(connection, request.alert_id)
        return pb.UpdateAlertResponse(alert=shown, warnings=warnings)

    def GetAlert(self, request: pb.GetAlertRequest, context: "grpc.ServicerContext") -> pb.GetAlertResponse:
        """Return an alert."""
        with self.engine.begin() as connection:
            return pb.GetAlertResponse(alert=self.showing.one(connection, request.alert_id))

    def ListAlerts(
        self, request: pb.ListAlertsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListAlertsResponse:
        """List alerts, those that fire first."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (int, str))
        for index, condition in enumerate(request.conditions):
            if condition not in {each.value for each in Condition}:
                violations.add(f"conditions[{index}]", f"has no meaning for the value {condition}")
        if not 0 <= request.recent_windows <= _MAXIMUM_RECENT:
            violations.add("recent_windows", f"must be 0 to {_MAXIMUM_RECENT}")
        violations.raise_if_any()
        with self.engine.begin() as connection:
            found = alerts.list_kept(connection, after, request.conditions, size + 1)
            page = found[:size]
            shown = self.showing.many(connection, page, request.recent_windows)
        more = len(found) > size
        token = encode_token(request, [page[-1].rank, page[-1].alert_id]) if more else ""
        return pb.ListAlertsResponse(alerts=shown, next_page_token=token)

    def DeleteAlert(
        self, request: pb.DeleteAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.DeleteAlertResponse:
        """Delete an alert."""
        with self.engine.begin() as connection:
            alerts.lock_id(connection, request.alert_id)
            try:
                self.changes.delete(connection, alerts.read(connection, request.alert_id))
            except NotFound:
                if not is_retry(context):
                    raise
        return pb.DeleteAlertResponse()

    def PauseAlert(
        self, request: pb.PauseAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.PauseAlertResponse:
        """Stop looking."""
        with self.engine.begin() as connection:
            alerts.lock_id(connection, request.alert_id)
            kept = alerts.read(connection, request.alert_id)
            if kept.active:
                self.changes.pause(connection, kept)
            return pb.PauseAlertResponse(alert=self.showing.one(connection, request.alert_id))

    def ResumeAlert(
        self, request: pb.ResumeAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.ResumeAlertResponse:
        """Look again."""
        with self.engine.begin() as connection:
            alerts.lock_id(connection, request.alert_id)
            kept = alerts.read(connection, request.alert_id)
            if not kept.active:
                self.changes.resume(connection, kept)
            return pb.ResumeAlertResponse(alert=self.showing.one(connection, request.alert_id))

    def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.AcknowledgeAlertResponse:
        """Take care of the present episode."""
        with self.engine.begin() as connection:
            alerts.lock_id(connection, request.alert_id)
            kept = alerts.read(connection, request.alert_id)
            if kept.condition not in {Condition.FIRING, Condition.RECOVERING}:
                raise FailedPrecondition(f"alert {kept.alert_id} does not fire", "NOT_FIRING")
            subject = current_caller().subject
            states.acknowledge(connection, kept.alert_key, kept.episode, subject, self.clock())
            self.changes.record(connection, "AcknowledgeAlert", kept.alert_id)
            return pb.AcknowledgeAlertResponse(alert=self.showing.one(connection, request.alert_id))

    def _read(
        self, violations: Violations, request: pb.CreateAlertRequest | pb.UpdateAlertRequest
    ) -> "tuple[Plan, list[Recipient]]":
        if not request.HasField("definition"):
            violations.add("definition", "is required")
            violations.raise_if_any()
        plan = definitions.plan(violations, request.definition, self.changes.reporting_zone, self.sources)
        recipients = self.checks.read(violations, request.definition.channels)
        violations.raise_if_any()
        return plan, recipients

    def _probe(self, plan: "Plan") -> None:
        start, end = plan.grid.last_closed(self.clock())
        probe(self.sources[plan.source], Wanted(plan.query, start, end))

    def _is(
        self,
        connection: "Connection",
        kept: "Kept",
        definition: definition_pb2.AlertDefinition,
        recipients: "Sequence[Recipient]",
    ) -> bool:
        before = self.showing.recipients.of_alerts(connection, [kept.alert_key])
        bare = definition_pb2.AlertDefinition()
        bare.CopyFrom(definition)
        del bare.channels[:]
        return kept.definition == bare and _told(before.get(kept.alert_key, [])) == _told(recipients)

    def _refuse_another(
        self,
        connection: "Connection",
        kept: "Kept",
        definition: definition_pb2.AlertDefinition,
        recipients: "Sequence[Recipient]",
    ) -> None:
        if not self._is(connection, kept, definition, recipients):
            raise AlreadyExists(f"another alert has the id {kept.alert_id!r}", "ALERT_ALREADY_EXISTS")


def _told(recipients: "Sequence[Recipient]") -> "list[tuple[ChannelKind, str]]":
    """Return whom recipients are: an address that another alert wrote otherwise is shown as it did."""
    return [(each.channel, normalised(each.address)) for each in recipients]
