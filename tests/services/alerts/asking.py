"""Definitions for tests, and calls in one line."""

from typing import Any, Protocol

from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1 import common_pb2


class Service(Protocol):
    """Whoever can be asked."""

    @property
    def alerts(self) -> AlertsServiceStub:
        """The calls."""


def definition(**changes: Any) -> definition_pb2.AlertDefinition:  # noqa: ANN401 - fields of the message
    """Fires on hours with more than two errors."""
    fields: dict[str, Any] = {
        "name": "Errors",
        "metric": definition_pb2.MetricReference(
            source="events",
            name="event_count",
            labels={"event": "error"},
            interval=common_pb2.INTERVAL_HOUR,
        ),
        "condition": definition_pb2.ALERT_CONDITION_GREATER_THAN,
        "threshold": 2.0,
    }
    return definition_pb2.AlertDefinition(**(fields | changes))


def webhook(*urls: str) -> definition_pb2.Channel:
    return definition_pb2.Channel(kind=definition_pb2.CHANNEL_KIND_WEBHOOK, recipients=urls)


def mail(*addresses: str) -> definition_pb2.Channel:
    return definition_pb2.Channel(kind=definition_pb2.CHANNEL_KIND_EMAIL, recipients=addresses)


def create(service: Service, alert_id: str = "errors", **changes: Any) -> alert_pb2.Alert:  # noqa: ANN401
    request = pb.CreateAlertRequest(alert_id=alert_id, definition=definition(**changes))
    return service.alerts.CreateAlert(request).alert


def get(service: Service, alert_id: str = "errors") -> alert_pb2.Alert:
    return service.alerts.GetAlert(pb.GetAlertRequest(alert_id=alert_id)).alert


def condition(service: Service, alert_id: str = "errors") -> str:
    name = alert_pb2.ConditionState.Name(get(service, alert_id).state.condition)
    return name.removeprefix("CONDITION_STATE_")


def history(
    service: Service, alert_id: str = "errors", *, changes_only: bool = False
) -> list[alert_pb2.HistoryEntry]:
    """Oldest first."""
    request = pb.ListAlertHistoryRequest(alert_id=alert_id, changes_only=changes_only)
    return list(service.alerts.ListAlertHistory(request).entries)[::-1]


def reasons(service: Service, alert_id: str = "errors") -> list[str]:
    return [
        alert_pb2.TransitionReason.Name(each.reason).removeprefix("TRANSITION_REASON_")
        for each in history(service, alert_id)
    ]


def spans(service: Service, alert_id: str) -> list[tuple[int, int]]:
    """The windows that history accounts for, in Unix microseconds, in order; skipped ones as one span."""
    return [
        (each.window.start_time.ToMicroseconds(), each.window.end_time.ToMicroseconds())
        for each in history(service, alert_id)
        if each.HasField("compared") or each.reason == alert_pb2.TRANSITION_REASON_SKIPPED
    ]


def deliveries(service: Service, alert_id: str = "") -> list[alert_pb2.Delivery]:
    """Oldest first."""
    return list(service.alerts.ListDeliveries(pb.ListDeliveriesRequest(alert_id=alert_id)).deliveries)[::-1]


def kinds(service: Service, alert_id: str = "") -> list[str]:
    """What receivers are told, oldest first."""
    return [
        alert_pb2.NoticeKind.Name(each.kind).removeprefix("NOTICE_KIND_")
        for each in deliveries(service, alert_id)
    ]
