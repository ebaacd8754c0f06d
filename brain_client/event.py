"""Builds one wire event from plain values and refuses at once what is cheap to see."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Required, TypedDict
from uuid import uuid4

from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp

# The limits of brain.events.v1.Event, in characters where nothing else is said.
MAXIMUM_ID = 200
MAXIMUM_CATEGORY = 100
MAXIMUM_TEXT = 2_000
MAXIMUM_PROPERTIES_BYTES = 65_536
MAXIMUM_VALUE = 1e12

_EPOCH_ORDINAL = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


class EventFields(TypedDict, total=False):
    """What an event may carry beside its name. The limits are those of brain.events.v1.Event."""

    session_id: Required[str]
    user_id: str | None
    anonymous_id: str | None
    category: str  # "revenue" makes the value count as revenue
    value: float | None  # in the deployment's currency
    properties: Mapping[str, object] | None  # what json.dumps takes
    page: str
    referrer: str
    user_agent: str
    event_time: datetime | None  # with its offset; now where absent
    event_id: str | None  # needs event_time; a random UUID where absent


def make_event(  # noqa: PLR0913 — an event has this many fields, and callers name them
    event: str,
    *,
    session_id: str,
    user_id: str | None = None,
    anonymous_id: str | None = None,
    category: str = "",
    value: float | None = None,
    properties: Mapping[str, object] | None = None,
    page: str = "",
    referrer: str = "",
    user_agent: str = "",
    event_time: datetime | None = None,
    event_id: str | None = None,
) -> Event:
    """Return a wire event that carries an id and a time, so that sending it again stores nothing twice.

    An `event_id` needs the `event_time` it belongs to, or a repeated call would make a second event.
    Raises ValueError for what the server would refuse, TypeError for properties that are not JSON.
    """
    if event_id and event_time is None:
        raise ValueError("event_id needs event_time: the two together identify an event")
    made = Event(
        event_id=event_id or str(uuid4()),
        user_id=user_id or "",
        anonymous_id=anonymous_id or "",
        session_id=session_id,
        event=event,
        category=category,
        event_time=timestamp(event_time or datetime.now(UTC)),
        page=page,
        referrer=referrer,
        user_agent=user_agent,
    )
    if value is not None:
        made.value = _amount(value)
    if properties:
        made.properties_json = _json(properties)
    check(made)
    return made


def timestamp(moment: datetime) -> Timestamp:
    """Convert without the rounding of floats. Raises ValueError for a time without an offset."""
    if moment.tzinfo is None:
        raise ValueError(f"time {moment.isoformat()} has no offset; give it one, for instance timezone.utc")
    moment = moment.astimezone(UTC)
    days = moment.toordinal() - _EPOCH_ORDINAL
    seconds = days * 86_400 + moment.hour * 3_600 + moment.minute * 60 + moment.second
    return Timestamp(seconds=seconds, nanos=moment.microsecond * 1_000)


def check(event: Event) -> None:
    """Raise ValueError naming the first field that is missing or too long."""
    for field in ("event", "session_id"):
        if not getattr(event, field):
            raise ValueError(f"{field} is required")
    for fields, maximum in _LENGTHS:
        for field in fields:
            if len(getattr(event, field)) > maximum:
                raise ValueError(f"{field} is longer than {maximum:,} characters")
    if len(event.properties_json.encode()) > MAXIMUM_PROPERTIES_BYTES:
        raise ValueError(f"properties_json is longer than {MAXIMUM_PROPERTIES_BYTES:,} bytes")


def _json(properties: Mapping[str, object]) -> str:
    return json.dumps(properties, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def _amount(value: float) -> float:
    if not math.isfinite(value) or abs(value) > MAXIMUM_VALUE:
        raise ValueError(f"value must be within ± 10¹², not {value}")
    return value


_LENGTHS = (
    (("event", "session_id", "user_id", "anonymous_id", "event_id"), MAXIMUM_ID),
    (("category",), MAXIMUM_CATEGORY),
    (("page", "referrer", "user_agent"), MAXIMUM_TEXT),
)
