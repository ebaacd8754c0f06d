"""Fills messages of the contracts from JSON, by the rules of `representation`, and says what is wrong."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import orjson
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.struct_pb2 import NULL_VALUE, Value
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.rest.representation import (
    JSON_TEXT,
    STRUCT,
    TIMESTAMP,
    VALUE,
    descriptor_of,
    is_map,
    key,
    prefix,
    value_of,
)
from shared.json_values import depth
from shared.validation import Violations

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor

    from shared.json_values import JsonValue as Json

_INTEGERS = {
    FieldDescriptor.TYPE_INT32: 31,
    FieldDescriptor.TYPE_INT64: 63,
}

M = TypeVar("M", bound=Message)
# Of objects and lists within one another; messages must not lie a hundred deep.
_DEPTH = 32


def fill(violations: Violations, message: M, given: "dict[str, Json]", path: str = "") -> M:
    """Return the message, filled; unknown names and wrong types become violations. null means absent."""
    fields = {key(field): field for field in descriptor_of(message).fields if is_readable(field)}
    for name, value in given.items():
        place = f"{path}{name}"
        if name not in fields:
            violations.add(place, "is not known here")
        elif value is not None:
            _put(violations, message, fields[name], value, place)
    return message


def is_readable(field: FieldDescriptor) -> bool:
    """Return whether JSON may fill a field: the textual one of two forms, and no server's time."""
    is_struct = field.message_type is not None and field.message_type.full_name == STRUCT
    twin = f"{field.name}{JSON_TEXT}"
    siblings = field.containing_type.fields_by_name if field.containing_type else {}
    return field.name != "received_time" and not (is_struct and twin in siblings)


def moment(text: str) -> datetime:
    """Return an RFC 3339 instant; raise ValueError. Without an offset it would be anybody's guess."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("has no offset")
    return found.astimezone(UTC)


def stamp(when: datetime) -> Timestamp:
    """Return a datetime as a timestamp."""
    made = Timestamp()
    made.FromDatetime(when)
    return made


def _put(violations: Violations, message: Message, field: FieldDescriptor, value: "Json", place: str) -> None:
    if is_map(field):
        _put_names(violations, message, field, value, place)
        return
    if field.is_repeated:
        _put_each(violations, message, field, value, place)
        return
    read = _scalar(violations, field, value, place)
    if isinstance(read, Message):
        getattr(message, field.name).CopyFrom(read)
    elif read is not None:
        setattr(message, field.name, read)


def _put_each(
    violations: Violations, message: Message, field: FieldDescriptor, value: "Json", place: str
) -> None:
    if not isinstance(value, list):
        violations.add(place, "must be a list")
        return
    for index, each in enumerate(value):
        read = _scalar(violations, field, each, f"{place}[{index}]")
        if read is not None:
            getattr(message, field.name).append(read)


def _put_names(
    violations: Violations, message: Message, field: FieldDescriptor, value: "Json", place: str
) -> None:
    if not isinstance(value, dict):
        violations.add(place, "must be an object")
        return
    for name, each in value.items():
        read = _plain(violations, value_of(field), each, f"{place}.{name}")
        if read is not None:
            getattr(message, field.name)[name] = read


def _scalar(
    violations: Violations, field: FieldDescriptor, value: "Json", place: str
) -> Message | str | float | None:
    """Return what a field takes; None after a violation."""
    if field.name.endswith(JSON_TEXT):
        return _text(violations, value, place)
    if field.message_type is not None:
        return _nested(violations, field, value, place)
    if field.enum_type is not None:
        return _number_of(violations, field.enum_type, value, place)
    return _plain(violations, field, value, place)


def _text(violations: Violations, value: "Json", place: str) -> str | None:
    if not isinstance(value, dict):
        violations.add(place, "must be an object")
        return None
    try:
        return orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it reads deeper than it writes
        violations.add(place, "is nested too deeply")
        return None


def _nested(violations: Violations, field: FieldDescriptor, value: "Json", place: str) -> Message | None:
    assert field.message_type is not None, "the caller looked"
    if field.message_type.full_name == TIMESTAMP:
        try:
            return stamp(moment(value if isinstance(value, str) else ""))
        except (ValueError, OverflowError):
            violations.add(place, "must be an instant with an offset, as 2025-01-31T12:00:00Z")
            return None
    if field.message_type.full_name == VALUE:
        return _value(violations, value, place)
    if not isinstance(value, dict):
        violations.add(place, "must be an object")
        return None
    if field.message_type.full_name == STRUCT:
        return _value(violations, value, place).struct_value
    return fill(violations, GetMessageClass(field.message_type)(), value, f"{place}.")


def _value(violations: Violations, value: "Json", place: str) -> Value:
    """Return any JSON; the contracts take less depth than this."""
    made = Value()
    if depth(value) > _DEPTH:
        violations.add(place, "is nested too deeply")
        return made
    match value:
        case bool():
            made.bool_value = value
        case int() | float():
            made.number_value = value
        case str():
            made.string_value = value
        case dict():
            made.struct_value.SetInParent()  # an empty one is one, too
            made.struct_value.update(value)
        case list():
            made.list_value.SetInParent()
            made.list_value.extend(value)  # type: ignore[arg-type]  # depth() looked: JSON all the way down
        case None:
            made.null_value = NULL_VALUE
    return made


def _number_of(violations: Violations, enum: "EnumDescriptor", value: "Json", place: str) -> int | None:
    words = {each.name.removeprefix(prefix(enum)).lower(): each.number for each in enum.values if each.number}
    if isinstance(value, str) and value in words:
        return words[value]
    violations.add(place, f"must be one of {', '.join(words)}")
    return None


def _plain(violations: Violations, field: FieldDescriptor, value: "Json", place: str) -> str | float | None:
    bits = _INTEGERS.get(field.type)
    if field.type == FieldDescriptor.TYPE_STRING:
        if isinstance(value, str):
            return value
        violations.add(place, "must be a text")
    elif field.type == FieldDescriptor.TYPE_BOOL:
        if isinstance(value, bool):
            return value
        violations.add(place, "must be true or false")
    elif bits is None:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        violations.add(place, "must be a number")
    elif _is_whole(value, bits):
        return value  # type: ignore[return-value]  # JSON's numbers are float or int
    else:
        violations.add(place, f"must be a whole number of at most {bits + 1} bits")
    return None


def _is_whole(value: object, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**bits) <= value < 2**bits
