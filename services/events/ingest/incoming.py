"""From events on the wire to events that can be stored: checks each and says what is wrong with which field.

This is the hot path: it runs once for every event, so it reads each field once and calls little.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

from services.events.calendar import MICROS
from services.events.domain import VALUE_SCALE, Name, UserKind, Who
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

    def take(self, rows: list[int]) -> "Batch":
        """Return some rows of all columns."""
        return Batch(*([getattr(self, name)[row] for row in rows] for name in self.__slots__))


# What a text field may hold: its least and its greatest number of characters.
_LIMITS = {
    "event": (1, MAXIMUM_EVENT),
    "session_id": (1, MAXIMUM_ID),
    "user_id": (0, MAXIMUM_ID),
    "anonymous_id": (0, MAXIMUM_ID),
    "event_id": (0, MAXIMUM_ID),
    "category": (0, MAXIMUM_CATEGORY),
    "page": (0, MAXIMUM_TEXT),
    "referrer": (0, MAXIMUM_TEXT),
    "user_agent": (0, MAXIMUM_TEXT),
}

# Binary COPY puts a length before each field, -1 for NULL, which is what an empty text becomes. Looking the
# length up is quicker than packing it.
_NULL = b"\xff\xff\xff\xff"
_LENGTHS = [_NULL] + [length.to_bytes(4, "big") for length in range(1, 4 * MAXIMUM_TEXT + 1)]


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
    """Add one event's columns, except its index; or add nothing and return (field, reason) pairs."""
    name, category, session, event_id = event.event, event.category, event.session_id, event.event_id
    user, anonymous = event.user_id, event.anonymous_id
    page, referrer, agent = event.page, event.referrer, event.user_agent
    violations: list[tuple[str, str]] = []
    if not (
        0 < len(name) <= MAXIMUM_EVENT
        and 0 < len(session) <= MAXIMUM_ID
        and len(user) <= MAXIMUM_ID
        and len(anonymous) <= MAXIMUM_ID
        and len(event_id) <= MAXIMUM_ID
        and len(category) <= MAXIMUM_CATEGORY
        and len(page) <= MAXIMUM_TEXT
        and len(referrer) <= MAXIMUM_TEXT
        and len(agent) <= MAXIMUM_TEXT
        and "\0" not in f"{name}{session}{user}{anonymous}{event_id}{category}{page}{referrer}{agent}"
    ):
        violations += _text_violations(event)
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
    batch.names.append((name, category))
    batch.times.append(time)
    batch.ids.append(stored)
    batch.values.append(value)
    batch.tails.append(_tail((session, "" if is_canonical else event_id, page, referrer, agent), properties))
    return violations


def _text_violations(event: "Event") -> list[tuple[str, str]]:
    violations = []
    for name, (least, greatest) in _LIMITS.items():
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
        whole = int(value)  # a product beyond 2⁵³ would not be exact
        return whole * VALUE_SCALE + round((value - whole) * VALUE_SCALE)
    violations.append(("value", "must be a number within ± 10¹²"))
    return NO_VALUE


def _tail(texts: tuple[str, ...], properties: bytes) -> bytes:
    """Encode the text columns and the properties for binary COPY."""
    encoded = [text.encode() for text in texts]
    head = b"".join([_LENGTHS[len(each)] + each for each in encoded])
    if not properties:
        return head + _NULL
    return b"%b%b\1%b" % (head, (len(properties) + 1).to_bytes(4, "big"), properties)  # 1: jsonb's version
