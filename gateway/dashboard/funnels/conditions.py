"""Conditions on properties as people type them: `plan = pro and amount > 10`."""

import json
import math
import re
from typing import Final

from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator
from google.protobuf.struct_pb2 import Value

_OPERATORS: Final = {
    "=": PropertyOperator.PROPERTY_OPERATOR_EQUALS,
    "!=": PropertyOperator.PROPERTY_OPERATOR_NOT_EQUALS,
    ">": PropertyOperator.PROPERTY_OPERATOR_GREATER,
    "<": PropertyOperator.PROPERTY_OPERATOR_LESS,
}
# "and" between conditions: behind it as many quotes are opened as closed.
_and = re.compile(r'\s+and\s+(?=(?:[^"]*"[^"]*")*[^"]*$)')
_comparison = re.compile(r"([^=!<>]*)(!=|=|>|<)(.*)", re.DOTALL)


def filters(text: str) -> list[PropertyFilter]:
    """Return the conditions of a text; a name alone asks for the property to be there.

    A value is a number, true, false or a text, in quotes where it would be taken for something else. What
    makes no condition is left for the service to refuse.
    """
    return [_filter(part.strip()) for part in _and.split(text.strip())] if text.strip() else []


def _filter(text: str) -> PropertyFilter:
    found = _comparison.fullmatch(text)
    if found is None:
        return PropertyFilter(property=text, operator=PropertyOperator.PROPERTY_OPERATOR_EXISTS)
    path, sign, value = found.groups()
    return PropertyFilter(property=path.strip(), operator=_OPERATORS[sign], values=[_value(value.strip())])


def _value(text: str) -> Value:
    try:
        found = json.loads(text)
    except ValueError:
        return Value(string_value=text)
    if isinstance(found, bool):
        return Value(bool_value=found)
    if isinstance(found, int | float) and math.isfinite(found):
        return Value(number_value=found)
    return Value(string_value=found if isinstance(found, str) else text)
