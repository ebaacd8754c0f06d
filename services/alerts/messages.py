"""What is kept, as messages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from brain.alerts.v1 import alert_pb2 as pb
from brain.alerts.v1 import definition_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.alerts.plan import Recipient, masked
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from datetime import datetime

    from services.alerts.store.alerts import Kept
    from services.alerts.store.history import KeptEntry
    from services.alerts.store.outbox import KeptDelivery
    from services.alerts.store.silences import KeptSilence


def stamp(instant: "datetime | None") -> Timestamp | None:
    """Return an instant as a message, which may be absent."""
    if instant is None:
        return None
    made = Timestamp()
    made.FromDatetime(instant)
    return made


def address_shown(recipient: Recipient, *, in_full: bool) -> str:
    """Return an address as this caller may see it."""
    return recipient.address if in_full else masked(recipient)


def with_channels(
    definition: definition_pb2.AlertDefinition, recipients: Sequence[Recipient], *, in_full: bool
) -> definition_pb2.AlertDefinition:
    """Return a kept definition with its channels, as they were given."""
    whole = definition_pb2.AlertDefinition()
    whole.CopyFrom(definition)
    for recipient in recipients:
        if not whole.channels or whole.channels[-1].kind != recipient.channel.value:
            whole.channels.add(kind=definition_pb2.ChannelKind.ValueType(recipient.channel.value))
        whole.channels[-1].recipients.append(address_shown(recipient, in_full=in_full))
    return whole


def alert(
    kept: "Kept",
    definition: definition_pb2.AlertDefinition,
    held_until: int | None,
    latest: "KeptEntry | None",
    recent: "Sequence[KeptEntry]" = (),
) -> pb.Alert:
    """Return an alert; `definition` is whole, `held_until` in Unix microseconds."""
    return pb.Alert(
        alert_id=kept.alert_id,
        definition=definition,
        active=kept.active,
        created_time=stamp(kept.created_time),
        updated_time=stamp(kept.updated_time),
        state=_state(kept, held_until, latest),
        last_triggered_time=stamp(kept.fired_time),
        recent=map(entry, recent),
    )


def _state(kept: "Kept", held_until: int | None, latest: "KeptEntry | None") -> pb.AlertState:
    return pb.AlertState(
        condition=pb.ConditionState.ValueType(kept.condition),
        health=pb.HealthState.ValueType(kept.health),
        since_time=stamp(kept.since_time),
        episode=kept.episode,
        latest=None if latest is None else entry(latest),
        acknowledged_by=kept.acknowledged_by or "",
        acknowledged_time=stamp(kept.acknowledged_time),
        held_until_time=None if held_until is None else from_micros(held_until),
        next_look_time=stamp(kept.due_time),
    )


def entry(kept: "KeptEntry") -> pb.HistoryEntry:
    """Return a line of history."""
    message = pb.HistoryEntry(
        entry_id=kept.entry_id,
        recorded_time=stamp(kept.recorded_time),
        value=kept.value,
        baseline_value=kept.baseline_value,
        compared=kept.compared,
        threshold=kept.threshold,
        sample_size=kept.sample_size,
        condition=pb.ConditionState.ValueType(kept.condition),
        health=pb.HealthState.ValueType(kept.health),
        reason=pb.TransitionReason.ValueType(kept.reason),
        episode=kept.episode,
        notices=map(pb.NoticeKind.ValueType, kept.notices),
        held=kept.held,
        detail=kept.detail,
    )
    if kept.window_start_time is not None and kept.window_end_time is not None:
        message.window.start_time.FromDatetime(kept.window_start_time)
        message.window.end_time.FromDatetime(kept.window_end_time)
    return message


def silence(kept: "KeptSilence") -> pb.Silence:
    """Return a silence."""
    return pb.Silence(
        silence_id=kept.silence_id,
        alert_ids=kept.alert_ids,
        labels=kept.labels,
        start_time=stamp(kept.start_time),
        end_time=stamp(kept.end_time),
        comment=kept.comment,
        created_by=kept.created_by,
    )


def delivery(kept: "KeptDelivery", recipient: str) -> pb.Delivery:
    """Return a line of the ledger."""
    waits = kept.status == pb.DELIVERY_STATUS_WAITING
    return pb.Delivery(
        delivery_id=kept.delivery_id,
        alert_id=kept.alert_id,
        episode=kept.episode,
        kind=pb.NoticeKind.ValueType(kept.kind),
        sequence=kept.sequence,
        channel=definition_pb2.ChannelKind.ValueType(kept.channel),
        recipient=recipient,
        status=pb.DeliveryStatus.ValueType(kept.status),
        attempts=kept.attempts,
        created_time=stamp(kept.created_time),
        next_attempt_time=stamp(kept.due_time) if waits else None,
        finished_time=stamp(kept.finished_time),
        answer=kept.answer,
    )
