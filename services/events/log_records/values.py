"""Values of OpenTelemetry as JSON values, and attributes as properties that dotted paths lead to."""

import math
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

    from shared.json_values import JsonValue as Json

# Questions ask for no longer paths.
MAXIMUM_STEPS = 8
_SHOWN_CHARACTERS = 100
_PLAIN = frozenset({"string_value", "bool_value", "int_value"})


class UnfitError(ValueError):
    """A log record that is no event, or one that cannot be stored: the field at fault, and why."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def read_attributes(attributes: "Iterable[KeyValue]", field: str = "attributes") -> "dict[str, Json]":
    """Return the attributes of a field by name; raise UnfitError."""
    found: dict[str, Json] = {}
    for each in attributes:
        value = each.value
        text = value.string_value
        if text:  # most are, and this is half the price of asking which kind it is
            found[each.key] = text
            continue
        try:
            found[each.key] = to_json(value)
        except ValueError as error:
            raise UnfitError(within(field, each.key), str(error)) from None
    return found


def within(field: str, name: str) -> str:
    """Return what an attribute of a field is called where it is at fault."""
    return f'{field}["{name[:_SHOWN_CHARACTERS]}"]'


def to_json(value: "AnyValue") -> "Json":
    """Return a value as JSON has it: bytes become base64, as in OTLP's own JSON.

    Raises:
        ValueError: a number that is not finite, or a string of a table, which only profiles have.

    """
    kind = value.WhichOneof("value")
    if kind in _PLAIN:
        plain: Json = getattr(value, kind)
        return plain
    match kind:
        case "double_value":
            if not math.isfinite(value.double_value):
                raise ValueError("holds a number that is not finite")
            return value.double_value
        case "array_value":
            return [to_json(each) for each in value.array_value.values]
        case "kvlist_value":
            return {each.key: to_json(each.value) for each in value.kvlist_value.values}
        case "bytes_value":
            return b64encode(value.bytes_value).decode()
        case None:
            return None
    raise ValueError("refers to a table of strings, which logs do not have")


def nested(named: "Mapping[str, Json]") -> "dict[str, Json]":
    """Return values where paths lead to them: `cart.total` within `cart`.

    Where something that is no object stands in the way, the name stays whole.
    """
    found = {name: value for name, value in named.items() if "." not in name}
    if len(found) < len(named):
        for name in sorted(name for name in named if "." in name):  # `cart.items` before `cart.items.first`
            *way, last = name.split(".")
            level = _object_at(found, way) if last and all(way) and len(way) < MAXIMUM_STEPS else None
            if level is None or last in level:
                found[name] = named[name]
            else:
                level[last] = named[name]
    return found


def _object_at(top: "dict[str, Json]", way: "Iterable[str]") -> "dict[str, Json] | None":
    """Return the object that a path leads to, made where there is none."""
    level = top
    for step in way:
        below = level.setdefault(step, {})
        if not isinstance(below, dict):
            return None
        level = below
    return level


def without(top: "dict[str, Json]", paths: "Iterable[tuple[str, ...]]") -> None:
    """Remove from an object what paths lead to."""
    for *way, last in paths:
        level: Json = top
        for step in way:
            level = level.get(step) if isinstance(level, dict) else None
        if isinstance(level, dict):
            level.pop(last, None)
