"""From events on the wire to events that can be stored: checks each and says what is wrong with which field.

This is the hot path: it runs once for every event, so it reads each field once and calls little.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from services.events.calendar import MICROS
from services.events.domain import Name, UserKind, Who
from services.events.ingest.event_ids import stored_id
from services.events.ingest.properties import properties_text
from services.events.rollups.deltas import NO_VALUE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brain.events.v1.events_pb2 import Event

MAXIMUM_ID = 200
MAXIMUM_EVENT = 200
MAXIMUM_CATEGORY = 100
MAXIMUM_TEXT = 2000
MAXIMUM_VALUE = 1e12
VALUE_SCALE = 1_000_000
SECOND_NANOS = 1_000_000_000
EARLIEST = 946_684_800 * MICROS  # 2000-01-01
MAXIMUM_AHEAD = 24 * 3600 * MICROS


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event of a batch that cannot be stored, and one reason."""

    index: int
    field: str
    reason: str


@dataclass(slots=True)
class Batch:
    """Events that may be stored, as columns; filled once, then only read.

    ids are 16 bytes each; tails hold the text columns as binary COPY wants them; indexes are the positions in
    what the caller sent.
    """

    indexes: list[int] = field(default_factory=list)
    who: list[Who] = field(default_factory=list)
    anonymous: list[Who | None] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    tails: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, end: int) -> "Batch":
        """Return a slice of all columns."""
        return Batch(*(getattr(self, name)[start:end] for name in self.__slots__))


# Binary COPY puts a length before each field; looking it up is quicker than packing it.
_LENGTHS = [length.to_bytes(4, "big") for length in range(4 * MAXIMUM_TEXT + 1)]
_NULL = b"\xff\xff\xff\xff"


def read(events: "Iterable[Event]", now: int) -> tuple[Batch, list[Rejected]]:
    """Split a batch into what may be stored and what is wrong with the rest.

    Args:
        events: as received.
        now: the server's clock in Unix microseconds.

    """
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
    """Add one event's columns, except its index; or adds nothing and returns (field, reason) pairs."""
    violations: list[tuple[str, str]] = []
    name, category, session = event.event, event.category, event.session_id
    user, anonymous = event.user_id, event.anonymous_id
    if not 0 < len(name) <= MAXIMUM_EVENT:
        violations.append(_length("event", name, MAXIMUM_EVENT))
    if not 0 < len(session) <= MAXIMUM_ID:
        violations.append(_length("session_id", session, MAXIMUM_ID))
    if len(user) > MAXIMUM_ID:
        violations.append(_length("user_id", user, MAXIMUM_ID))
    if len(anonymous) > MAXIMUM_ID:
        violations.append(_length("anonymous_id", anonymous, MAXIMUM_ID))
    if len(category) > MAXIMUM_CATEGORY:
        violations.append(_length("category", category, MAXIMUM_CATEGORY))
    time, event_id, id_text = _identity(event, now, violations)
    value = _value(event, violations)
    properties = properties_text(event, violations)
    tail = _tail((session, id_text, event.page, event.referrer, event.user_agent), properties, violations)
    if "\0" in f"{name}{category}{user}{anonymous}":
        violations.append(_nul(event))
    if violations:
        return violations
    if user:
        batch.who.append((UserKind.USER, user))
    else:
        batch.who.append((UserKind.ANONYMOUS, anonymous) if anonymous else (UserKind.SESSION, session))
    batch.anonymous.append((UserKind.ANONYMOUS, anonymous) if user and anonymous else None)
    batch.names.append((name, category))
    batch.times.append(time)
    batch.ids.append(event_id)
    batch.values.append(value)
    batch.tails.append(tail)
    return violations


def _length(field: str, text: str, maximum: int) -> tuple[str, str]:
    return (
        field,
        f"must have 1 to {maximum} characters" if not text else f"is longer than {maximum} characters",
    )


def _nul(event: "Event") -> tuple[str, str]:
    fields = ("event", "category", "user_id", "anonymous_id")
    return next(name for name in fields if "\0" in getattr(event, name)), "contains a NUL character"


def _identity(event: "Event", now: int, violations: list[tuple[str, str]]) -> tuple[int, bytes, str]:
    """Return time, stored id, and the id's text where the stored id does not say it."""
    event_id = event.event_id
    if event.HasField("event_time"):
        stamp = event.event_time
        nanos = stamp.nanos
        time = stamp.seconds * MICROS + nanos // 1000
        if not (EARLIEST <= time <= now + MAXIMUM_AHEAD and 0 <= nanos < SECOND_NANOS):
            violations.append(("event_time", _time_reason(time, nanos)))
    else:
        time = now
        if event_id:
            violations.append(
                ("event_time", "is required beside an event_id: they identify the event together")
            )
    if not event_id:
        return time, uuid4().bytes, ""
    if len(event_id) > MAXIMUM_ID:
        violations.append(_length("event_id", event_id, MAXIMUM_ID))
    stored, is_canonical = stored_id(event_id)
    return time, stored, "" if is_canonical else event_id


def _time_reason(time: int, nanos: int) -> str:
    if not 0 <= nanos < SECOND_NANOS:
        return "is not a valid timestamp: nanos must be 0 to 999,999,999"
    return "is before 2000-01-01" if time < EARLIEST else "is more than 24 hours ahead of the server"


def _value(event: "Event", violations: list[tuple[str, str]]) -> int:
    if not event.HasField("value"):
        return NO_VALUE
    value = event.value
    if -MAXIMUM_VALUE <= value <= MAXIMUM_VALUE:  # false for NaN
        return round(value * VALUE_SCALE)
    violations.append(("value", "must be a number within ± 10¹²"))
    return NO_VALUE


_TAIL_FIELDS = ("session_id", "event_id", "page", "referrer", "user_agent")


def _tail(texts: tuple[str, ...], properties: bytes, violations: list[tuple[str, str]]) -> bytes:
    """Encode the text columns and the properties for binary COPY."""
    parts: list[bytes] = []
    for position, text in enumerate(texts):
        if not text:
            parts.append(_NULL)
            continue
        encoded = text.encode()
        if len(encoded) > MAXIMUM_TEXT and len(text) > MAXIMUM_TEXT:
            violations.append(_length(_TAIL_FIELDS[position], text, MAXIMUM_TEXT))
            return b""
        if b"\0" in encoded:
            violations.append((_TAIL_FIELDS[position], "contains a NUL character"))
            return b""
        parts += (_LENGTHS[len(encoded)], encoded)
    if properties:
        parts += ((len(properties) + 1).to_bytes(4, "big"), b"\1", properties)  # 1 is jsonb's wire version
    else:
        parts.append(_NULL)
    return b"".join(parts)
