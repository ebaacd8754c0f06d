"""The calls that say why an alert fired or did not, and what was told to whom."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from services.alerts import messages
from services.alerts.calls.showing import sees_addresses
from services.alerts.plan import ChannelKind, Recipient
from services.alerts.store import alerts, history, outbox
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Engine

    from services.alerts.store.outbox import KeptDelivery
    from services.alerts.store.recipients import RecipientStore

_STATUSES = {
    alert_pb2.DELIVERY_STATUS_WAITING,
    alert_pb2.DELIVERY_STATUS_DELIVERED,
    alert_pb2.DELIVERY_STATUS_FAILED,
}


@dataclass(frozen=True)
class HistoryCalls:
    """Lists history and deliveries."""

    engine: "Engine"
    recipients: "RecipientStore"

    def ListAlertHistory(
        self, request: pb.ListAlertHistoryRequest, context: "grpc.ServicerContext"
    ) -> pb.ListAlertHistoryResponse:
        """List looks at an alert, newest first."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        before = decode_token(violations, request, request.page_token, (int,))
        violations.raise_if_any()
        with self.engine.begin() as connection:
            alert_key = alerts.read(connection, request.alert_id).alert_key
            position = cast("int", before[0]) if before else None
            found = history.list_kept(
                connection, alert_key, position, size + 1, changes_only=request.changes_only
            )
        page = found[:size]
        token = encode_token(request, [page[-1].entry_id]) if len(found) > size else ""
        return pb.ListAlertHistoryResponse(entries=map(messages.entry, page), next_page_token=token)

    def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: "grpc.ServicerContext"
    ) -> pb.ListDeliveriesResponse:
        """List what was told to whom, newest first."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        before = decode_token(violations, request, request.page_token, (int,))
        for index, status in enumerate(request.statuses):
            if status not in _STATUSES:
                violations.add(f"statuses[{index}]", f"has no meaning for the value {status}")
        violations.raise_if_any()
        position = cast("int", before[0]) if before else None
        with self.engine.begin() as connection:
            alert_key = alerts.read(connection, request.alert_id).alert_key if request.alert_id else None
            found = outbox.list_kept(connection, alert_key, request.statuses, position, size + 1)
            page = found[:size]
            ids = {each.recipient_id for each in page if each.recipient_id is not None}
            addresses = self.recipients.addresses(connection, ids)
        token = encode_token(request, [page[-1].delivery_id]) if len(found) > size else ""
        return pb.ListDeliveriesResponse(
            deliveries=[messages.delivery(each, _shown(each, addresses)) for each in page],
            next_page_token=token,
        )


def _shown(delivery: "KeptDelivery", addresses: dict[int, str]) -> str:
    address = addresses.get(delivery.recipient_id or 0)
    if address is None:
        return ""
    recipient = Recipient(ChannelKind(delivery.channel), address)
    return messages.address_shown(recipient, in_full=sees_addresses())
