"""Whether attributes meet conditions, compared as the events service compares properties: typed."""

from collections.abc import Iterable, Mapping
from typing import cast

from services.experiments.domain import Condition, JsonValue, Operator

_MISSING = object()


def meets(attributes: Mapping[str, JsonValue], conditions: Iterable[Condition]) -> bool:
    """Return whether all conditions hold."""
    return all(_holds(_found(attributes, condition.path), condition) for condition in conditions)


def _found(attributes: Mapping[str, JsonValue], path: tuple[str, ...]) -> object:
    found: object = attributes
    for step in path:
        if isinstance(found, Mapping):
            found = found.get(step, _MISSING)
        elif isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            return _MISSING
    return found


def _holds(found: object, condition: Condition) -> bool:
    if condition.operator is Operator.EXISTS:
        return found is not _MISSING
    if condition.operator is Operator.NOT_EQUALS:
        return not _equal(found, condition.values[0])
    if found is _MISSING:
        return False
    if condition.operator in {Operator.EQUALS, Operator.IN}:
        return any(_equal(found, value) for value in condition.values)
    if condition.operator is Operator.CONTAINS:
        return _contains(found, condition.values[0])
    return _compares(found, condition)


def _compares(found: object, condition: Condition) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return False
    bound = cast("float", condition.values[0])  # checked when the condition was made
    return found > bound if condition.operator is Operator.GREATER else found < bound


def _equal(found: object, value: JsonValue) -> bool:
    # Python takes True for 1.
    return isinstance(found, bool) == isinstance(value, bool) and found == value


def _contains(found: object, value: JsonValue) -> bool:
    if isinstance(found, str):
        return isinstance(value, str) and value in found
    return isinstance(found, list) and any(_equal(each, value) for each in found)
