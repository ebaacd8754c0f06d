"""Conditions on properties in SQL. Values travel as parameters, never as text of the statement."""

from typing import Any

import orjson

from services.events.domain import Condition, Operator, Scalar, Selection
from services.events.value_rollups.extraction import TEXT_SQL

# (path) is jsonb or NULL where the event lacks the property.
_SQL = {
    Operator.EQUALS: "{path} = {value}::jsonb",
    Operator.NOT_EQUALS: "{path} IS DISTINCT FROM {value}::jsonb",
    Operator.IN: "{path} = ANY({value}::jsonb[])",
    Operator.GREATER: "CASE WHEN jsonb_typeof({path}) = 'number' THEN {path} > {value}::jsonb END",
    Operator.LESS: "CASE WHEN jsonb_typeof({path}) = 'number' THEN {path} < {value}::jsonb END",
    Operator.EXISTS: "{path} IS NOT NULL",
    Operator.CONTAINS: (
        "CASE jsonb_typeof({path})"
        " WHEN 'string' THEN jsonb_typeof({value}::jsonb) = 'string'"
        " AND strpos({path} #>> '{{}}', {value}::jsonb #>> '{{}}') > 0"
        " WHEN 'array' THEN {path} @> {value}::jsonb END"
    ),
}


def to_sql(
    conditions: tuple[Condition, ...], value: str | None = None, prefix: str = ""
) -> tuple[str, dict[str, Any]]:
    """Return the conditions, each beginning with AND, and their parameters, whose names begin with `prefix`.

    They are about raw events; or, with `value`, about that jsonb expression, whatever their paths.
    """
    clauses: list[str] = []
    parameters: dict[str, Any] = {}
    for number, condition in enumerate(conditions):
        path, wanted = f"{prefix}path_{number}", f"{prefix}value_{number}"
        found = value or property_sql(path)
        expression = _SQL[condition.operator].format(path=found, value=f"%({wanted})s")
        clauses.append(f" AND ({expression})")
        parameters[path] = list(condition.path)
        if condition.operator is not Operator.EXISTS:
            parameters[wanted] = _value(condition)
    return "".join(clauses), parameters


def matches_sql(
    sets: tuple[tuple[Condition, ...], ...], value: str | None = None
) -> tuple[str, dict[str, Any]]:
    """Return an int8 whose bit i tells whether a raw event meets the conditions of set i, and parameters.

    With `value`, whether that jsonb expression does.
    """
    bits: list[str] = []
    parameters: dict[str, Any] = {}
    for number, conditions in enumerate(sets):
        clauses, used = to_sql(conditions, value, prefix=f"set_{number}_")
        bits.append(f"CASE WHEN true{clauses} THEN {1 << number}::int8 ELSE 0 END")
        parameters |= used
    return " | ".join(bits), parameters


def type_parameters(selection: Selection) -> dict[str, Any]:
    """Return the parameters `events` and `categories`, None for any."""
    return {
        "events": None if selection.events is None else list(selection.events),
        "categories": None if selection.categories is None else list(selection.categories),
    }


def property_sql(parameter: str) -> str:
    """Return the property at the path that the parameter of this name holds, as jsonb."""
    return f"(properties #> %({parameter})s::text[])"


def property_text_sql(parameter: str) -> str:
    """Return that property as JSON text, one for all values that are equal."""
    return TEXT_SQL.format(value=property_sql(parameter))


def _value(condition: Condition) -> str | list[str]:
    if condition.operator is Operator.IN:
        return [_json(value) for value in condition.values]
    return _json(condition.values[0])


def _json(value: Scalar) -> str:
    return orjson.dumps(value).decode()
