"""What changes to an alert write: all of it in the transaction of the call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts import definitions
from services.alerts.condition import State
from services.alerts.outcome import Entry, Outcome, Subject
from services.alerts.plan import Plan, Recipient
from services.alerts.state import withdraw
from services.alerts.store import alerts, states
from services.alerts.store.recipients import RecipientStore
from services.alerts.telling import notices_of
from shared import audit
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.errors import Aborted
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brain.alerts.v1.definition_pb2 import AlertDefinition
    from sqlalchemy import Connection

    from services.alerts.store.alerts import Kept


@dataclass(frozen=True)
class Changes:
    """Writes changes."""

    recipients: RecipientStore
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def add(
        self,
        connection: "Connection",
        alert_id: str,
        definition: "AlertDefinition",
        plan: Plan,
        recipients: Sequence[Recipient],
    ) -> None:
        """Keep an alert; its latest closed window is judged at once."""
        now = self.clock()
        alert_key = alerts.add(connection, alert_id, definition, now)
        states.add(connection, alert_key, plan.source, now, plan.grid.last_closed(now)[0])
        self.recipients.replace(connection, alert_key, recipients)
        self.record(connection, "CreateAlert", alert_id)

    def redefine(
        self,
        connection: "Connection",
        kept: "Kept",
        definition: "AlertDefinition",
        plan: Plan,
        recipients: Sequence[Recipient],
    ) -> None:
        """Replace a definition; those who know of a firing, and they alone, are told of its end."""
        now = self.clock()
        self._withdraw(connection, kept, "the alert was edited", plan if kept.active else None, plan.source)
        alerts.redefine(connection, kept.alert_key, definition, now)
        self.recipients.replace(connection, kept.alert_key, recipients)
        self.record(connection, "UpdateAlert", kept.alert_id)

    def pause(self, connection: "Connection", kept: "Kept") -> None:
        """Look no more."""
        self._withdraw(connection, kept, "the alert was paused", None)
        alerts.activate(connection, kept.alert_key, self.clock(), active=False)
        self.record(connection, "PauseAlert", kept.alert_id)

    def resume(self, connection: "Connection", kept: "Kept") -> None:
        """Look again, from the latest closed window on."""
        self._withdraw(connection, kept, "", self._plan(kept))
        alerts.activate(connection, kept.alert_key, self.clock(), active=True)
        self.record(connection, "ResumeAlert", kept.alert_id)

    def delete(self, connection: "Connection", kept: "Kept") -> None:
        """Take an alert away."""
        self._withdraw(connection, kept, "the alert was deleted", None)
        alerts.delete(connection, kept.alert_key, self.clock())
        self.recipients.replace(connection, kept.alert_key, [])
        self.record(connection, "DeleteAlert", kept.alert_id)

    def record(self, connection: "Connection", action: str, alert_id: str) -> None:
        """Note who did it."""
        audit.record(connection, AuditEntry(current_caller().subject, action, alert_id, {}))

    def _plan(self, kept: "Kept") -> Plan:
        return definitions.plan(Violations(), kept.definition, self.reporting_zone)

    def _withdraw(
        self,
        connection: "Connection",
        kept: "Kept",
        why: str,
        following: Plan | None,
        source: str | None = None,
    ) -> None:
        """End what is going on; from then on windows are judged as `following` says, if at all."""
        now = self.clock()
        claimed = states.lock(connection, kept.alert_key)
        moved = withdraw(claimed.state)
        labels: Mapping[str, str] = dict(kept.definition.metric.labels)
        subject = Subject(claimed, kept.alert_id, self._plan(kept), labels)
        entry = Entry(moved.reason, notices=moved.notices, detail=why)
        outcome = Outcome(
            claimed=claimed,
            state=moved.state,
            now=now,
            judged_until=following.grid.last_closed(now)[0] if following else claimed.judged_until,
            due=now if following else None,
            entries=[entry] if _is_news(claimed.state) else [],
            notices=notices_of(subject, moved, now, None, why),
            source=source,
        )
        if not states.write(connection, [outcome]):
            raise Aborted("a concurrent change came first", "CONFLICT")


def _is_news(before: State) -> bool:
    return before != withdraw(before).state
