"""Answers of the alerts service as rows of tables."""

from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from brain_client import tables


def alert_row(alert: alert_pb2.Alert) -> tables.Row:
    """Return where an alert stands."""
    state, latest = alert.state, alert.state.latest
    return {
        "alert": alert.alert_id,
        "name": alert.definition.name,
        "condition": word(alert_pb2.ConditionState.Name(state.condition), "CONDITION_STATE_"),
        "health": word(alert_pb2.HealthState.Name(state.health), "HEALTH_STATE_"),
        "since_time": tables.instant(state.since_time),
        "compared": latest.compared if latest.HasField("compared") else None,
        "threshold": alert.definition.threshold,
        "active": alert.active,
    }


def entry_row(entry: alert_pb2.HistoryEntry) -> tables.Row:
    """Return what was seen, and why it came to what."""
    return {
        "window": tables.instant(entry.window.start_time) if entry.HasField("window") else None,
        "value": entry.value if entry.HasField("value") else None,
        "compared": entry.compared if entry.HasField("compared") else None,
        "threshold": entry.threshold if entry.HasField("threshold") else None,
        "sample_size": entry.sample_size if entry.HasField("sample_size") else None,
        "condition": word(alert_pb2.ConditionState.Name(entry.condition), "CONDITION_STATE_"),
        "reason": word(alert_pb2.TransitionReason.Name(entry.reason), "TRANSITION_REASON_"),
        "detail": entry.detail or None,
    }


def word(name: str, prefix: str) -> str:
    """Return the name of an enum's value as people read it."""
    return name.removeprefix(prefix).lower()


def delivery_row(delivery: alert_pb2.Delivery) -> tables.Row:
    """Return what was told to whom."""
    return {
        "created_time": tables.instant(delivery.created_time),
        "alert": delivery.alert_id,
        "notice": word(alert_pb2.NoticeKind.Name(delivery.kind), "NOTICE_KIND_"),
        "channel": word(definition_pb2.ChannelKind.Name(delivery.channel), "CHANNEL_KIND_"),
        "recipient": delivery.recipient,
        "status": word(alert_pb2.DeliveryStatus.Name(delivery.status), "DELIVERY_STATUS_"),
        "attempts": delivery.attempts,
        "answer": delivery.answer or None,
    }


def test_row(result: pb.TestResult) -> tables.Row:
    """Return what a recipient answered."""
    return {
        "channel": word(definition_pb2.ChannelKind.Name(result.channel), "CHANNEL_KIND_"),
        "recipient": result.recipient,
        "delivered": result.delivered,
        "answer": result.answer,
    }
