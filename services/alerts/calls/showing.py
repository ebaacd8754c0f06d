"""Alerts as callers see them: with channels, with what was seen last."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.alerts import messages
from services.alerts.store import alerts, history
from shared.auth import Role
from shared.calls import current_caller

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.alerts.v1 import alert_pb2 as pb
    from sqlalchemy import Connection

    from services.alerts.store.alerts import Kept
    from services.alerts.store.recipients import RecipientStore


def sees_addresses() -> bool:
    """Return whether this caller may see addresses in full."""
    return current_caller().may(Role.ADMIN)


@dataclass(frozen=True)
class Showing:
    """Turns kept alerts into messages."""

    recipients: "RecipientStore"

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
        return [
            messages.alert(
                each,
                messages.with_channels(each.definition, recipients.get(each.alert_key, ()), in_full=in_full),
                latest.get(each.alert_key),
                windows[each.alert_key],
            )
            for each in kept
        ]
