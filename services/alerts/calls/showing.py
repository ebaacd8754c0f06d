"""Alerts as callers see them: with channels, with what was seen last."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts import definitions, messages
from services.alerts.looking import held_until
from services.alerts.store import alerts, history, silences
from shared.auth import Role
from shared.calls import current_caller
from shared.validation import Violations

if TYPE_CHECKING:
    from collections.abc import Sequence
    from zoneinfo import ZoneInfo

    from brain.alerts.v1 import alert_pb2 as pb
    from sqlalchemy import Connection

    from services.alerts.holds import Silence
    from services.alerts.store.alerts import Kept
    from services.alerts.store.recipients import RecipientStore


def sees_addresses() -> bool:
    """Return whether this caller may see addresses in full."""
    return current_caller().may(Role.ADMIN)


@dataclass(frozen=True)
class Showing:
    """Turns kept alerts into messages."""

    recipients: "RecipientStore"
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def one(self, connection: "Connection", alert_id: str) -> "pb.Alert":
        """Return an alert; raise NotFound."""
        return self.many(connection, [alerts.read(connection, alert_id)], 0)[0]

    def many(self, connection: "Connection", kept: "Sequence[Kept]", recent: int) -> "list[pb.Alert]":
        """Return alerts in their order, each with some of its latest windows."""
        keys = [each.alert_key for each in kept]
        recipients = self.recipients.of_alerts(connection, keys)
        ids = [each.latest_entry_id for each in kept if each.latest_entry_id is not None]
        latest = history.read(connection, ids)
        windows = history.recent(connection, keys, recent)
        in_full = sees_addresses()
        now = self.clock()
        silent = silences.current(connection, now)
        return [
            messages.alert(
                each,
                messages.with_channels(each.definition, recipients.get(each.alert_key, ()), in_full=in_full),
                self._held_until(each, silent, now),
                latest.get(each.alert_key),
                windows[each.alert_key],
            )
            for each in kept
        ]

    def _held_until(self, kept: "Kept", silent: "Sequence[Silence]", now: int) -> int | None:
        """Return until when announcements are held now, and not when its metric was last looked at."""
        if not kept.active:
            return None
        plan = definitions.plan(Violations(), kept.definition, self.reporting_zone)
        return held_until(kept.alert_id, plan, silent, now)
