"""Histories in a running service."""

from collections.abc import Iterable
from datetime import UTC, datetime

from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import conversion_pb2 as pb
from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service
from tests.services.events.scans import track

MICROS = 1_000_000


def instant(micros: int) -> Timestamp:
    message = Timestamp()
    message.FromMicroseconds(micros)
    return message


def micros(*moment: int) -> int:
    """Return the Unix µs of a moment in UTC: year, month, day and so on."""
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * MICROS  # type: ignore[misc,arg-type]


def span(start: int, end: int) -> TimeRange:
    return TimeRange(start_time=instant(start), end_time=instant(end))


def event(number: int, who: str, name: str, time: int, properties: str = "") -> Event:
    """An event of a user, or of a session where `who` begins with "session"."""
    made = Event(event_id=str(number), session_id=who, event=name, properties_json=properties)
    if who.startswith("device"):
        made.anonymous_id = who
    elif not who.startswith("session"):
        made.user_id = who
    made.event_time.CopyFrom(instant(time))
    return made


def store(service: Service, rows: Iterable[tuple[str, str, int]]) -> None:
    """Store (who, name, µs)."""
    track(service, [event(number, *row) for number, row in enumerate(rows)])


def ask(service: Service, **changes: object) -> pb.GetConversionRateResponse:
    return service.events.GetConversionRate(pb.GetConversionRateRequest(**changes))  # type: ignore[arg-type]
