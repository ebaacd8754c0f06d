"""Parameters of a query: what they mean, how they are read, and how the OpenAPI document tells of them."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway.rest.reading import moment
from shared.validation import Violations

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.rest.schemas import Schema

T = TypeVar("T")

_DIGITS = 18
_FIRST_YEAR, _LAST_YEAR = 1970, 2100
_is_real = re.compile(r"[-+]?\d{1,30}(\.\d{1,30})?(e[-+]?\d{1,3})?", re.ASCII | re.IGNORECASE).fullmatch
_is_day = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Parameter(Generic[T]):
    """One parameter; `read` raises ValueError with what the value must be."""

    name: str
    description: str
    schema: "Schema"
    read: Callable[[str], T]
    required: bool = False
    repeated: bool = False


class Given:
    """The values of a request's parameters."""

    def __init__(self, values: Mapping[str, list[Any]]) -> None:
        self._values = values

    def one(self, parameter: Parameter[T], default: T) -> T:
        """Return a parameter's value, or `default` where it is not given."""
        values = self._values.get(parameter.name)
        return values[0] if values else default

    def maybe(self, parameter: Parameter[T]) -> T | None:
        """Return a parameter's value, or None where it is not given."""
        values = self._values.get(parameter.name)
        return values[0] if values else None

    def every(self, parameter: Parameter[T]) -> list[T]:
        """Return all values of a parameter that may be repeated."""
        return self._values.get(parameter.name, [])


def text(name: str, description: str, *, required: bool = False) -> Parameter[str]:
    """Return a parameter that takes any text but an empty one."""

    def read(value: str) -> str:
        if not value:
            raise ValueError("must not be empty")
        return value

    return Parameter(name, description, {"type": "string", "minLength": 1}, read, required)


def texts(name: str, description: str) -> Parameter[str]:
    """Return a parameter that may be given again and again."""
    one = text(name, description)
    schema: Schema = {"type": "array", "items": one.schema}
    return Parameter(name, description, schema, one.read, repeated=True)


def number(name: str, description: str, minimum: int, maximum: int) -> Parameter[int]:
    """Return a parameter that takes a whole number of a range."""

    def read(value: str) -> int:
        is_whole = value.isascii() and value.isdecimal() and len(value) <= _DIGITS
        if not (is_whole and minimum <= int(value) <= maximum):
            raise ValueError(f"must be a whole number of {minimum} to {maximum}")
        return int(value)

    return Parameter(name, description, {"type": "integer", "minimum": minimum, "maximum": maximum}, read)


def numbers(name: str, description: str, minimum: int, maximum: int) -> Parameter[int]:
    """Return a parameter that takes whole numbers of a range, again and again."""
    one = number(name, description, minimum, maximum)
    return Parameter(name, description, {"type": "array", "items": one.schema}, one.read, repeated=True)


def real(name: str, description: str) -> Parameter[float]:
    """Return a parameter that takes a finite number."""

    def read(value: str) -> float:
        if not (_is_real(value) and math.isfinite(float(value))):
            raise ValueError("must be a number as 2.5")
        return float(value)

    return Parameter(name, description, {"type": "number"}, read)


def reals(name: str, description: str) -> Parameter[float]:
    """Return a parameter that takes finite numbers, again and again."""
    one = real(name, description)
    return Parameter(name, description, {"type": "array", "items": one.schema}, one.read, repeated=True)


def day(name: str, description: str) -> "Parameter[date]":
    """Return a parameter that takes a calendar day of the years 1970 to 2100."""

    def read(value: str) -> "date":
        found = date.fromisoformat(value) if _is_day(value) else None
        if found is None or not _FIRST_YEAR <= found.year <= _LAST_YEAR:
            raise ValueError(f"must be a day as 2025-01-31, of the years {_FIRST_YEAR} to {_LAST_YEAR}")
        return found

    return Parameter(name, description, {"type": "string", "format": "date"}, read)


def pairs(name: str, description: str) -> "Parameter[tuple[str, str]]":
    """Return a parameter that takes `key=value`, again and again."""

    def read(value: str) -> tuple[str, str]:
        key, equals, rest = value.partition("=")
        if not (key and equals):
            raise ValueError("must be key=value")
        return key, rest

    schema: Schema = {"type": "array", "items": {"type": "string", "pattern": "^[^=]+="}}
    return Parameter(name, description, schema, read, repeated=True)


def choice(name: str, description: str, choices: Mapping[str, T], *, required: bool = False) -> Parameter[T]:
    """Return a parameter that takes one of some words, each with its meaning."""

    def read(value: str) -> T:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return choices[value]

    return Parameter(name, description, {"type": "string", "enum": list(choices)}, read, required)


def instant(name: str, description: str) -> "Parameter[datetime]":
    """Return a parameter that takes an instant."""

    def read(value: str) -> "datetime":
        try:
            # In a query an unescaped plus means a space.
            return moment(value.replace(" ", "+"))
        except (ValueError, OverflowError):
            raise ValueError("must be an instant with an offset, as 2025-01-31T12:00:00Z") from None

    return Parameter(name, description, {"type": "string", "format": "date-time"}, read)


def read_all(
    parameters: Sequence[Parameter[Any]], given: Iterable[tuple[str, str]], known: frozenset[str]
) -> Given:
    """Return the values of a query; raise InvalidArgument with everything that is wrong with it.

    `known` are names that mean something besides, and are skipped.
    """
    violations = Violations()
    by_name = {parameter.name: parameter for parameter in parameters}
    values: dict[str, list[Any]] = {}
    for name, value in given:
        parameter = by_name.get(name)
        if parameter is not None:
            _take(violations, parameter, value, values.setdefault(name, []))
        elif name not in known:
            violations.add(name, "is not known here")
    for parameter in parameters:
        if parameter.required and parameter.name not in values:
            violations.add(parameter.name, "is required")
    violations.raise_if_any()
    return Given(values)


def _take(violations: Violations, parameter: Parameter[T], value: str, taken: list[T]) -> None:
    if taken and not parameter.repeated:
        violations.add(parameter.name, "is given more than once")
        return
    try:
        taken.append(parameter.read(value))
    except ValueError as error:
        violations.add(parameter.name, str(error))
