"""Messages of the contracts as JSON. `schemas` describes what comes out, by the same rules.

Names are camelCase. A field `…_json` holds JSON text and appears parsed, without that ending. Instants are
RFC 3339 in UTC, enum values lower-case words, 64-bit integers numbers. What is absent is left out, an empty
text too; numbers, booleans and lists are always there unless their field is optional. An optional number that
is infinite is left out.
"""

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import orjson
from google.protobuf.descriptor import FieldDescriptor

from shared.json_values import struct_to_dict, to_python

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, EnumDescriptor
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

JSON_TEXT: Final = "_json"
TIMESTAMP: Final = "google.protobuf.Timestamp"
STRUCT: Final = "google.protobuf.Struct"
VALUE: Final = "google.protobuf.Value"
_REASONS: Final = "_reasons"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STRUCT_DEPTH = 64


def camel(name: str) -> str:
    """Return a snake_case name in camelCase."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def key(field: FieldDescriptor) -> str:
    """Return the name under which a field appears."""
    return camel(field.name.removesuffix(JSON_TEXT))


def is_always_there(field: FieldDescriptor) -> bool:
    """Return whether a field appears in every object of its kind."""
    return field.is_repeated or not (field.has_presence or field.type == FieldDescriptor.TYPE_STRING)


def word(enum: "EnumDescriptor", number: int) -> str:
    """Return an enum's value as a word: COUNT_GROUP_EVENT is `event`, an unknown one its number."""
    value = enum.values_by_number.get(number)
    return str(number) if value is None else value.name.removeprefix(prefix(enum)).lower()


def prefix(enum: "EnumDescriptor") -> str:
    """Return what the names of an enum's values begin with, by buf's rule about the value 0."""
    return enum.values_by_number[0].name.removesuffix("UNSPECIFIED")


def to_json(message: "Message") -> dict[str, object]:
    """Return a message as what orjson writes."""
    found: dict[str, object] = {}
    for field in descriptor_of(message).fields:
        value = getattr(message, field.name)
        if is_map(field):
            found[key(field)] = {_name(field, name): each for name, each in value.items()}
        elif field.is_repeated:
            found[key(field)] = [_value(field, each) for each in value]
        elif is_infinite(value) and field.has_presence:
            continue  # JSON has no such number
        elif is_always_there(field) or (message.HasField(field.name) if field.has_presence else value):
            found[key(field)] = _value(field, value)
    return found


def is_map(field: FieldDescriptor) -> bool:
    """Return whether a field is a map of plain values by name."""
    entry = field.message_type
    return entry is not None and bool(entry.GetOptions().map_entry)


def is_infinite(value: object) -> bool:
    """Return whether a value is a number that JSON cannot write: a change from 0 to something is infinite."""
    return isinstance(value, float) and not math.isfinite(value)


def value_of(field: FieldDescriptor) -> FieldDescriptor:
    """Return what the values of a map are."""
    assert field.message_type is not None, "is_map() looked"
    return field.message_type.fields_by_name["value"]


def _name(field: FieldDescriptor, name: str) -> str:
    """Return a name of a map: reasons are by field, whose names are ours; other names are the caller's."""
    return camel(name) if field.name.endswith(_REASONS) else name


def instant(stamp: "Timestamp") -> str:
    """Return a timestamp as RFC 3339 in UTC, to the microsecond where it has any."""
    moment = _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
    return moment.isoformat().removesuffix("+00:00") + "Z"


def _value(field: FieldDescriptor, value: Any) -> object:  # noqa: ANN401 - whatever the field holds
    if field.message_type is not None:
        return _message(field.message_type.full_name, value)
    if field.enum_type is not None:
        return word(field.enum_type, value)
    if field.name.endswith(JSON_TEXT):
        return orjson.loads(value)
    return value


def _message(name: str, value: Any) -> object:  # noqa: ANN401 - the message of that name
    if name == TIMESTAMP:
        return instant(value)
    if name == STRUCT:
        return struct_to_dict(value, _STRUCT_DEPTH)
    if name == VALUE:
        return to_python(value, _STRUCT_DEPTH)
    return to_json(value)


def descriptor_of(message: "Message | type[Message]") -> "Descriptor":
    """Return what the contract says about a message."""
    descriptor: Descriptor = message.DESCRIPTOR  # type: ignore[assignment]  # one type, two names
    return descriptor
