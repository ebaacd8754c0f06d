"""google.protobuf.Struct and Value as plain Python values, without the cost of MessageToDict."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import ListValue, Struct, Value

JsonValue = str | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


def struct_to_dict(struct: "Struct", maximum_depth: int) -> dict[str, JsonValue]:
    """Return a Struct as a dictionary; whole numbers become int, as JSON writers expect.

    Raises:
        ValueError: deeper than maximum_depth, a number that is not finite, or a value without a kind.

    """
    if maximum_depth <= 0:
        raise ValueError("is nested too deeply")
    return {key: to_python(value, maximum_depth - 1) for key, value in struct.fields.items()}


def to_python(value: "Value", maximum_depth: int) -> JsonValue:
    """Return a Value as a Python value; raises ValueError as struct_to_dict does."""
    kind = value.WhichOneof("kind")
    match kind:
        case "string_value":
            return value.string_value
        case "number_value":
            return _number(value.number_value)
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
        case "struct_value":
            return struct_to_dict(value.struct_value, maximum_depth)
        case "list_value":
            return _list(value.list_value, maximum_depth)
    raise ValueError("holds a value without a kind")


def depth(value: JsonValue) -> int:
    """Return how many objects and lists lie in one another; without recursion, for callers choose that."""
    deepest, level = 0, [value]
    while level:
        inner = [each for each in level if isinstance(each, dict | list)]
        deepest += bool(inner)
        level = [child for each in inner for child in (each.values() if isinstance(each, dict) else each)]
    return deepest


def _list(values: "ListValue", maximum_depth: int) -> list[JsonValue]:
    if maximum_depth <= 0:
        raise ValueError("is nested too deeply")
    return [to_python(value, maximum_depth - 1) for value in values.values]


def _number(number: float) -> float:
    if not math.isfinite(number):
        raise ValueError("holds a number that is not finite")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
