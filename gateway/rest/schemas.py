"""JSON Schemas of the contracts' messages, by the rules of `representation` and `reading`."""

from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor import FieldDescriptor

from gateway.rest.reading import is_readable
from gateway.rest.representation import (
    JSON_TEXT,
    STRUCT,
    TIMESTAMP,
    VALUE,
    is_always_there,
    is_map,
    key,
    value_of,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.descriptor import Descriptor

Schema = dict[str, object]

_OBJECT: Final[Schema] = {"type": "object"}
# Other JSON texts may be anything.
_JSON_OBJECTS: Final = frozenset({f"properties{JSON_TEXT}", f"metadata{JSON_TEXT}", f"state{JSON_TEXT}"})
_INSTANT: Final[Schema] = {"type": "string", "format": "date-time"}
_PLAIN: Final[dict[int, Schema]] = {
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number"},
    FieldDescriptor.TYPE_INT32: {"type": "integer"},
    FieldDescriptor.TYPE_INT64: {"type": "integer"},
}


def of_answer(message: "Descriptor") -> Schema:
    """Return the schema of what `to_json` makes of a message."""
    fields = list(message.fields)
    return {
        "type": "object",
        "description": message.full_name,
        "properties": {key(field): _of_field(field, of_answer) for field in fields},
        "required": [key(field) for field in fields if is_always_there(field)],
        "additionalProperties": False,
    }


def of_request(message: "Descriptor") -> Schema:
    """Return the schema of what `fill` reads into a message."""
    fields = [field for field in message.fields if is_readable(field)]
    return {
        "type": "object",
        "description": message.full_name,
        "properties": {key(field): _or_null(_of_field(field, of_request)) for field in fields},
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    """Allow null, which means absent."""
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _of_field(field: FieldDescriptor, of_message: "Callable[[Descriptor], Schema]") -> Schema:
    if is_map(field):
        return {"type": "object", "additionalProperties": _PLAIN[value_of(field).type]}
    one = _of_value(field, of_message)
    return {"type": "array", "items": one} if field.is_repeated else one


def _of_value(field: FieldDescriptor, of_message: "Callable[[Descriptor], Schema]") -> Schema:
    if field.message_type is not None:
        known: dict[str, Schema] = {TIMESTAMP: _INSTANT, STRUCT: _OBJECT, VALUE: {}}
        name = field.message_type.full_name
        return known[name] if name in known else of_message(field.message_type)
    if field.enum_type is not None:
        is_asked = of_message is of_request  # where nobody may say "unspecified"
        numbers = [each.number for each in field.enum_type.values if each.number or not is_asked]
        return {"type": "string", "enum": [word(field.enum_type, number) for number in numbers]}
    if field.name.endswith(JSON_TEXT):
        return _OBJECT if field.name in _JSON_OBJECTS else {}
    return _PLAIN[field.type]
