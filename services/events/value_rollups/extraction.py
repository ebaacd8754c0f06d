"""The value of a property as JSON text: equal values have one text, 1 and 1.0 too.

It is PostgreSQL's text, except that decimals lose the zeros at their end. Only what is certain to be the same
here and there is decided here: texts, whole numbers, true, false, null, and absence. Decimals may have more
digits than a float, objects have their keys sorted, digits step into arrays: UNSURE leaves it to PostgreSQL.
"""

from collections.abc import Sequence
from enum import Enum
from struct import Struct
from typing import Final

import orjson

# Of a jsonb expression.
TEXT_SQL = (
    "CASE jsonb_typeof({value}) WHEN 'number' THEN trim_scale({value}::numeric)::text ELSE {value}::text END"
)

_TEXT_COLUMNS = 5  # in front of the properties in a row's tail
_NULL = -1
_length_at = Struct(">i").unpack_from
_VERSION_BYTES = 1


class Unsure(Enum):
    """The type of UNSURE."""

    UNSURE = 0


UNSURE: Final = Unsure.UNSURE


# A JSON text, None where there is no value, or not known here.
Text = str | Unsure | None


def value_text(document: object, path: Sequence[str]) -> Text:
    """Return the JSON text of what a path leads to, None where it leads nowhere, or UNSURE.

    Args:
        document: a parsed JSON object, or None where the event has no properties.
        path: names of properties, from the outermost on.

    """
    found = document
    for step in path:
        if type(found) is not dict:
            return UNSURE if type(found) is list else None
        if step not in found:
            return None
        found = found[step]
    return _text(found)


def _text(value: object) -> str | Unsure:
    if type(value) is str:
        return orjson.dumps(value).decode()
    if type(value) is int:
        return str(value)
    if value is None:
        return "null"
    if type(value) is bool:
        return "true" if value else "false"
    return UNSURE


def properties_of(tail: bytes) -> bytes:
    """Return the properties in a row's tail as JSON, empty where there are none."""
    position = 0
    for _ in range(_TEXT_COLUMNS):
        [length] = _length_at(tail, position)
        position += 4 if length == _NULL else 4 + length
    [length] = _length_at(tail, position)
    return b"" if length == _NULL else tail[position + 4 + _VERSION_BYTES :]
