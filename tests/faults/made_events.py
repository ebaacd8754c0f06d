"""Events whose content follows from their id, so that a ledger of ids says what must be stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from brain.events.v1.events_pb2 import Event

from shared.timestamps import from_micros

START_MICROS = 1_735_689_600_000_000  # 2025-01-01
SPAN_MICROS = 60 * 86_400_000_000  # two months: more than one partition
USERS = 500
NAMES = ("viewed", "added", "paid")
LARGEST_VALUE = 1_000


@dataclass(frozen=True, slots=True)
class Content:
    """What an event says: who, when in Unix µs, what, and a whole value or none."""

    user: str
    micros: int
    name: str
    value: int | None


def new_ids(count: int) -> list[str]:
    """Return ids that nobody used."""
    return [str(uuid4()) for _ in range(count)]


def content(event_id: str) -> Content:
    """Return what the event of an id says."""
    number = UUID(event_id).int
    value = (number >> 96) % (2 * LARGEST_VALUE)
    return Content(
        user=f"user {number % USERS}",
        micros=START_MICROS + (number >> 16) % SPAN_MICROS,
        name=NAMES[(number >> 8) % len(NAMES)],
        value=value if value < LARGEST_VALUE else None,
    )


def events(ids: Sequence[str]) -> list[Event]:
    """Return the events of some ids, as they are sent."""
    return [_event(event_id, content(event_id)) for event_id in ids]


def _event(event_id: str, said: Content) -> Event:
    return Event(
        event_id=event_id,
        user_id=said.user,
        session_id=f"session of {said.user}",
        event=said.name,
        event_time=from_micros(said.micros),
        value=said.value,
    )
