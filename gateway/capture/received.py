"""What captured messages of every kind have in common: ids, times, sessions, amounts, and what is dropped."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson
from brain.events.v1.events_pb2 import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shared.json_values import JsonValue as Json

# Longer ones are cut: a browser's address or name may be of any length, and is no reason to lose an event.
MAXIMUM_TEXT: Final = 2_000
# Of networks: never kept.
ADDRESSES: Final = frozenset({"ip", "$ip", "ip_address", "ipAddress"})
_DIGEST_BYTES: Final = 16
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Received:
    """When messages came, and the key that names the sessions their senders left open."""

    now: datetime
    session_key: bytes


class Who(NamedTuple):  # made for every message: a frozen dataclass takes half as long again
    """Who did something; at least one id."""

    user_id: str
    anonymous_id: str


class Stamp(NamedTuple):
    """What makes an event itself: sending it again with the same stamp stores nothing."""

    event_id: str
    time: datetime


def who(user_id: "Json", anonymous_id: "Json", names: str) -> Who:
    """Return who; raise ValueError, which says what is required by `names`, without any id."""
    user, anonymous = identifier(user_id), identifier(anonymous_id)
    if not (user or anonymous):
        raise ValueError(f"{names} is required")
    return Who(user, anonymous)


def identifier(value: object) -> str:
    """Return an id, which some senders give as a number; "" where there is none."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def text(value: "Json") -> str:
    """Return a text, cut to what an event takes; "" for anything else."""
    return value[:MAXIMUM_TEXT] if isinstance(value, str) else ""


def mapping(value: "Json") -> "dict[str, Json]":
    """Return an object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def moment(value: "Json") -> datetime | None:
    """Return an instant of ISO 8601, UTC unless it says otherwise; None for none. Raise ValueError."""
    if value is None or value == "":
        return None
    try:
        found = datetime.fromisoformat(value)  # type: ignore[arg-type]  # anything else is the TypeError
    except (TypeError, ValueError):
        raise ValueError("timestamp must be a text as ISO 8601 has it") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found


def session(given: "Json", by: Who, received: Received) -> str:
    """Return the session given, or one for each person, whose parts half an hour of silence tells apart.

    Named by a keyed digest, for session ids are stored readable and ids of people are not.
    """
    named = identifier(given)
    if named:
        return named
    return _digest(f"u{by.user_id}" if by.user_id else f"a{by.anonymous_id}", received.session_key)


@lru_cache(maxsize=10_000)  # senders that leave sessions open do so for every message of a person
def _digest(whose: str, key: bytes) -> str:
    return blake2b(whose.encode("utf-8", "replace"), digest_size=_DIGEST_BYTES, key=key).hexdigest()


def amount(properties: "Mapping[str, Json]") -> tuple[float | None, bool]:
    """Return the amount that properties tell of, and whether it is revenue."""
    for name in ("revenue", "value"):
        value = properties.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value), name == "revenue"
    return None, False


def kept(properties: "Mapping[str, Json]", dropped: frozenset[str] = ADDRESSES) -> str:
    """Return properties as JSON text without what is `dropped`; raise ValueError."""
    left = properties
    if not dropped.isdisjoint(properties):
        left = {name: value for name, value in properties.items() if name not in dropped}
    try:
        return orjson.dumps(left).decode() if left else ""
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        raise ValueError("properties are nested too deeply") from None


def event(name: "Json", by: Who, stamp: Stamp, session_id: str, properties: "Mapping[str, Json]") -> Event:
    """Return an event of these, with the amount that its properties tell of; raise ValueError."""
    if not isinstance(name, str) or not name:
        raise ValueError("event is required")
    made = Event(
        event_id=stamp.event_id,
        user_id=by.user_id,
        anonymous_id=by.anonymous_id,
        session_id=session_id,
        event=name,
    )
    since, when = stamp.time - _EPOCH, made.event_time
    when.seconds = since.days * 86_400 + since.seconds
    when.nanos = since.microseconds * 1_000
    value, is_revenue = amount(properties)
    if value is not None:
        made.value = value
    if is_revenue:
        made.category = "revenue"
    return made
