"""From events on the wire to events that can be stored: checks each and says what is wrong with which field.

A batch is read column by column; event by event only where something in it is out of the ordinary.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from services.events.domain import UserKind
from services.events.ingest.batch import (
    EARLIEST,
    MAXIMUM_AHEAD,
    MAXIMUM_VALUE,
    SECOND_NANOS,
    TEXT_LIMITS,
    Batch,
    properties_column,
    text_column,
)
from services.events.ingest.columns import read_columns
from services.events.ingest.event_ids import stored_id
from services.events.ingest.properties import properties_text
from services.events.ingest.values import stored_value
from services.events.rollups.deltas import NO_VALUE
from shared.calendar import MICROS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.events.v1.events_pb2 import Event


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event of a batch that cannot be stored, and one reason."""

    index: int
    field: str
    reason: str


def read(events: "Sequence[Event]", now: int) -> tuple[Batch, list[Rejected]]:
    """Split a batch into what may be stored and what is wrong with the rest.

    Args:
        events: as received.
        now: the server's clock in Unix microseconds.

    """
    whole = read_columns(events, now)
    return read_each(events, now) if whole is None else (whole, [])


def read_each(events: "Sequence[Event]", now: int) -> tuple[Batch, list[Rejected]]:
    """Do what read does, event by event."""
    batch = Batch()
    rejected: list[Rejected] = []
    for index, event in enumerate(events):
        violations = _append(batch, event, now)
        if violations:
            rejected.extend(Rejected(index, field, reason) for field, reason in violations)
        else:
            batch.indexes.append(index)
    return batch, rejected


def _append(batch: Batch, event: "Event", now: int) -> list[tuple[str, str]]:
    """Add one event's columns, except its index; or add nothing and return (field, reason) pairs."""
    violations = _text_violations(event)
    event_id, session = event.event_id, event.session_id
    user, anonymous = event.user_id, event.anonymous_id
    time, stored, is_canonical = _identity(event, event_id, now, violations)
    value = _value(event, violations)
    properties = properties_text(event, violations)
    if violations:
        return violations
    if user:
        batch.who.append((UserKind.USER, user))
    else:
        batch.who.append((UserKind.ANONYMOUS, anonymous) if anonymous else (UserKind.SESSION, session))
    batch.anonymous.append((UserKind.ANONYMOUS, anonymous) if user and anonymous else None)
    batch.names.append((event.event, event.category))
    batch.times.append(time)
    batch.ids.append(stored)
    batch.values.append(value)
    texts = (session, "" if is_canonical else event_id, event.page, event.referrer, event.user_agent)
    batch.tails.append(b"".join(map(text_column, texts)) + properties_column(properties))
    return violations


def _text_violations(event: "Event") -> list[tuple[str, str]]:
    violations = []
    for name, (least, greatest) in TEXT_LIMITS.items():
        text = getattr(event, name)
        if len(text) < least:
            violations.append((name, f"must have {least} to {greatest} characters"))
        elif len(text) > greatest:
            violations.append((name, f"is longer than {greatest} characters"))
        elif "\0" in text:
            violations.append((name, "contains a NUL character"))
    return violations


def _identity(
    event: "Event", event_id: str, now: int, violations: list[tuple[str, str]]
) -> tuple[int, bytes, bool]:
    """Return time, stored id, and whether the stored id says the id."""
    if event.HasField("event_time"):
        stamp = event.event_time
        nanos = stamp.nanos
        time = stamp.seconds * MICROS + nanos // 1000
        if not (EARLIEST <= time <= now + MAXIMUM_AHEAD and 0 <= nanos < SECOND_NANOS):
            violations.append(("event_time", _time_reason(time, nanos)))
    else:
        time = now
        if event_id:
            reason = "is required beside an event_id: they identify the event together"
            violations.append(("event_time", reason))
    if not event_id:
        return time, uuid4().bytes, True
    return time, *stored_id(event_id)


def _time_reason(time: int, nanos: int) -> str:
    if not 0 <= nanos < SECOND_NANOS:
        return "is not a valid timestamp: nanos must be 0 to 999,999,999"
    return "is before 2000-01-01" if time < EARLIEST else "is more than 24 hours ahead of the server"


def _value(event: "Event", violations: list[tuple[str, str]]) -> int:
    if not event.HasField("value"):
        return NO_VALUE
    value = event.value
    if -MAXIMUM_VALUE <= value <= MAXIMUM_VALUE:  # false for NaN
        return stored_value(value)
    violations.append(("value", "must be a number within ± 10¹²"))
    return NO_VALUE
