"""Checks conditions on properties for those who keep them, or hand them on to who evaluates them."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from brain.common.v1 import common_pb2 as pb

from shared.validation import Violations, text

if TYPE_CHECKING:
    from google.protobuf.struct_pb2 import Value

MAXIMUM_FILTERS = 20
MAXIMUM_VALUES = 1_000
_MAXIMUM_PATH = 200
_MAXIMUM_PATH_STEPS = 8
_MAXIMUM_TEXT = 2_000
_NUMERIC = {pb.PROPERTY_OPERATOR_GREATER, pb.PROPERTY_OPERATOR_LESS}


def check(violations: Violations, field: str, filters: Sequence[pb.PropertyFilter]) -> None:
    """Check filters as the events service would when it is asked with them."""
    if len(filters) > MAXIMUM_FILTERS:
        violations.add(field, f"at most {MAXIMUM_FILTERS}")
        return
    for index, each in enumerate(filters):
        _check(violations, f"{field}[{index}]", each)


def check_path(violations: Violations, field: str, dotted: str) -> None:
    """Check a dotted path."""
    text(violations, field, dotted, maximum=_MAXIMUM_PATH)
    steps = dotted.split(".")
    if dotted and not all(steps):
        violations.add(field, "has an empty step")
    if len(steps) > _MAXIMUM_PATH_STEPS:
        violations.add(field, f"has more than {_MAXIMUM_PATH_STEPS} steps")


def _check(violations: Violations, field: str, message: pb.PropertyFilter) -> None:
    check_path(violations, f"{field}.property", message.property)
    operator = message.operator
    if operator not in pb.PropertyOperator.values() or not operator:
        meaningless = f"has no meaning for the value {operator}"
        violations.add(f"{field}.operator", meaningless if operator else "is required")
    count = len(message.values)
    if operator == pb.PROPERTY_OPERATOR_EXISTS:
        fits, expected = count == 0, "none"
    elif operator == pb.PROPERTY_OPERATOR_IN:
        fits, expected = 0 < count <= MAXIMUM_VALUES, f"1 to {MAXIMUM_VALUES:,}"
    else:
        fits, expected = count == 1, "exactly one"
    if not fits:
        violations.add(f"{field}.values", f"must hold {expected} for this operator")
        return
    for index, value in enumerate(message.values):
        _check_value(violations, f"{field}.values[{index}]", value)
    if operator in _NUMERIC and message.values[0].WhichOneof("kind") != "number_value":
        violations.add(f"{field}.values[0]", "must be a number")


def _check_value(violations: Violations, field: str, value: "Value") -> None:
    match value.WhichOneof("kind"):
        case "string_value":
            text(violations, field, value.string_value, maximum=_MAXIMUM_TEXT, required=False)
        case "number_value" if not math.isfinite(value.number_value):
            violations.add(field, "must be finite")
        case "number_value" | "bool_value" | "null_value":
            pass
        case _:
            violations.add(field, "must be a string, a number, a boolean or null")
