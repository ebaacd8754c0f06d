"""Between the wire and the domain: what several calls check and fill in."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar
from zoneinfo import ZoneInfo

from brain.events.v1 import events_pb2 as pb

from services.events.domain import (
    VALUE_SCALE,
    Condition,
    Operator,
    Population,
    Scalar,
    StoredEvent,
    UserKind,
    Who,
)
from services.events.ingest.batch import MAXIMUM_ID
from services.events.rollups.deltas import NO_VALUE
from shared.calendar import Interval
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, text

if TYPE_CHECKING:
    from brain.common.v1 import common_pb2
    from google.protobuf.struct_pb2 import Value

MAXIMUM_EVENTS = 100
MAXIMUM_FILTERS = 20
MAXIMUM_PATH = 200
MAXIMUM_STEPS = 8
MAXIMUM_VALUES = 1_000

T = TypeVar("T")

PERIODS = {
    pb.ACTIVE_PERIOD_DAY: Interval.DAY,
    pb.ACTIVE_PERIOD_WEEK: Interval.WEEK,
    pb.ACTIVE_PERIOD_MONTH: Interval.MONTH,
}
KINDS = {
    pb.USER_KIND_USER: UserKind.USER,
    pb.USER_KIND_ANONYMOUS: UserKind.ANONYMOUS,
    pb.USER_KIND_SESSION: UserKind.SESSION,
}
KIND_NUMBERS = {kind: number for number, kind in KINDS.items()}


def events(violations: Violations, names: Sequence[str], *, required: bool = False) -> tuple[str, ...] | None:
    """Return the event names asked for; None for any."""
    if len(names) > MAXIMUM_EVENTS:
        violations.add("events", f"at most {MAXIMUM_EVENTS}")
    for index, name in enumerate(names):
        text(violations, f"events[{index}]", name, maximum=MAXIMUM_ID)
    if required and not names:
        violations.add("events", "at least one is required")
    return tuple(names) or None


def conditions(
    violations: Violations, field: str, filters: "Sequence[common_pb2.PropertyFilter]"
) -> tuple[Condition, ...]:
    """Return the conditions of property filters."""
    if len(filters) > MAXIMUM_FILTERS:
        violations.add(field, f"at most {MAXIMUM_FILTERS}")
        return ()
    return tuple(_condition(violations, f"{field}[{index}]", each) for index, each in enumerate(filters))


def property_path(violations: Violations, field: str, dotted: str) -> tuple[str, ...]:
    """Return the steps of a dotted path."""
    text(violations, field, dotted, maximum=MAXIMUM_PATH)
    steps = tuple(dotted.split("."))
    if dotted and not all(steps):
        violations.add(field, "has an empty step")
    if len(steps) > MAXIMUM_STEPS:
        violations.add(field, f"has more than {MAXIMUM_STEPS} steps")
    return steps


def _condition(violations: Violations, field: str, message: "common_pb2.PropertyFilter") -> Condition:
    path = property_path(violations, f"{field}.property", message.property)
    operator = chosen(
        violations, f"{field}.operator", message.operator, {each.value: each for each in Operator}
    )
    values = tuple(
        _scalar(violations, f"{field}.values[{index}]", value) for index, value in enumerate(message.values)
    )
    if operator is Operator.EXISTS:
        fits, expected = not values, "none"
    elif operator is Operator.IN:
        fits, expected = 0 < len(values) <= MAXIMUM_VALUES, f"1 to {MAXIMUM_VALUES:,}"
    else:
        fits, expected = len(values) == 1, "exactly one"
    if not fits:
        violations.add(f"{field}.values", f"must hold {expected} for this operator")
    elif operator in {Operator.GREATER, Operator.LESS} and (
        isinstance(values[0], bool) or not isinstance(values[0], int | float)
    ):
        violations.add(f"{field}.values[0]", "must be a number")
    return Condition(path, operator, values)


def _scalar(violations: Violations, field: str, value: "Value") -> Scalar:
    match value.WhichOneof("kind"):
        case "string_value":
            return text(violations, field, value.string_value, maximum=MAXIMUM_PATH * 10, required=False)
        case "number_value" if math.isfinite(value.number_value):
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) < 2**53 else number
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
    violations.add(field, "must be a string, a finite number, a boolean or null")
    return None


def population(*, include_sessions: bool, known_only: bool = False) -> Population:
    """Return who is counted."""
    if known_only:
        return Population.KNOWN
    return Population.ACTORS if include_sessions else Population.PEOPLE


def who(violations: Violations, field: str, reference: "pb.UserReference") -> Who:
    """Return somebody."""
    kind = chosen(violations, f"{field}.kind", reference.kind, KINDS)
    return kind, text(violations, f"{field}.id", reference.id, maximum=MAXIMUM_ID)


def to_reference(person: Who) -> "pb.UserReference":
    """Return somebody as a message."""
    return pb.UserReference(kind=KIND_NUMBERS[person[0]], id=person[1])


def from_value(micro_units: int | None) -> float | None:
    """Return an amount, or None where there is none."""
    return None if micro_units in {None, NO_VALUE} else micro_units / VALUE_SCALE


def to_events(stored: Iterable[StoredEvent], people: dict[int, Who]) -> list["pb.Event"]:
    """Return stored events as messages."""
    return [_event(event, people) for event in stored]


def _event(stored: StoredEvent, people: dict[int, Who]) -> "pb.Event":
    message = pb.Event(
        event_id=stored.event_id,
        session_id=stored.session_id,
        event=stored.event,
        category=stored.category,
        event_time=from_micros(stored.time),
        received_time=from_micros(stored.received_time),
        value=from_value(stored.value),
        page=stored.page or "",
        referrer=stored.referrer or "",
        user_agent=stored.user_agent or "",
    )
    if stored.properties is not None:
        message.properties_json = stored.properties
    for key in (stored.user_key, stored.anonymous_key):
        kind, text_id = people.get(key or 0, (UserKind.SESSION, ""))
        if kind is UserKind.USER:
            message.user_id = text_id
        elif kind is UserKind.ANONYMOUS:
            message.anonymous_id = text_id
    return message


def zone_name(zone: ZoneInfo) -> str:
    """Return a zone's IANA name."""
    return zone.key or "UTC"
