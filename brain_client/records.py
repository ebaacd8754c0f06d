"""Turns a record of a file (column or key to value) into an event."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache

from brain.events.v1.events_pb2 import Event
from google.protobuf.timestamp_pb2 import Timestamp

from brain_client.event import timestamp

FIELDS = frozenset(
    (
        *("event_id", "user_id", "anonymous_id", "session_id", "event", "category"),
        *("page", "referrer", "user_agent", "event_time", "value", "properties"),
    )
)
_IGNORED = "received_time"  # the server sets it; exports carry it
_PROPERTY = "properties."
_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode


@dataclass(frozen=True)
class BadLine:
    """A line of a file that made no event, or whose event was refused."""

    line: int
    field: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}: {' '.join(filter(None, (self.field, self.reason)))}"


@dataclass(frozen=True)
class Columns:
    """How the columns of a file become the fields of events.

    A column goes to the field `renamed` says, else to the one of its own name, else to the property of its
    name; "properties.x" is the property x. `constants` are fields that every event gets where its line has
    none. `numbers` are columns whose texts are numbers, when they become properties.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()
    time_zone: tzinfo = UTC  # of times without an offset

    def __post_init__(self) -> None:
        for target in (*self.renamed.values(), *self.constants):
            if target not in FIELDS and not target.startswith(_PROPERTY):
                raise ValueError(f"{target!r} is no field of an event; properties are called properties.NAME")


def event_maker(
    columns: Columns, line_id: Callable[[int], str]
) -> Callable[[int, Mapping[str, object]], Event]:
    """Return the function from a line's number and record to its event.

    An event without an id gets line_id(number), so that importing the file again stores nothing twice. The
    function raises ValueError or TypeError, saying why, for a record that makes no event.
    """
    time_of = _time_reader(columns.time_zone)
    targets = _Targets(columns.renamed)

    def make(number: int, record: Mapping[str, object]) -> Event:
        fields: dict[str, object] = {}
        properties: dict[str, object] = {}
        for target, constant in columns.constants.items():
            _put(target, constant, fields, properties)
        for name, value in record.items():
            target = targets[name]
            _put(target, _number(name, value) if name in columns.numbers else value, fields, properties)
        properties.update(_object(fields.pop("properties", None)))
        fields["event_time"] = time_of(fields.get("event_time"))
        if not fields.get("event_id"):
            fields["event_id"] = line_id(number)
        if fields.get("value") is not None:
            fields["value"] = _number("value", fields["value"])
        if properties:
            fields["properties_json"] = _encode(properties)
        return _event(fields)

    return make


class _Targets(dict[str, str]):
    """From column to field or properties.NAME, worked out once for each column."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        super().__init__(renamed)

    def __missing__(self, name: str) -> str:
        known = name in FIELDS or name == _IGNORED or name.startswith(_PROPERTY)
        self[name] = name if known else _PROPERTY + name
        return self[name]


def _put(target: str, value: object, fields: dict[str, object], properties: dict[str, object]) -> None:
    if target.startswith(_PROPERTY):
        properties[target[len(_PROPERTY) :]] = value
    elif target != _IGNORED:
        fields[target] = value


def _event(fields: dict[str, object]) -> Event:
    try:
        return Event(**fields)  # type: ignore[arg-type]  # protobuf checks the types, faster than we could
    except TypeError:
        return Event(**{name: _text(name, value) for name, value in fields.items()})  # type: ignore[arg-type]  # see above


def _text(name: str, value: object) -> object:
    """Take whole numbers for ids; say which field is at fault otherwise."""
    if name in ("event_time", "value") or value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise TypeError(f"{name} must be a text, not {value!r:.50}")


def _number(name: str, value: object) -> float:
    """Return a finite number, whole ones as such."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            return _finite(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r:.50}")
    return value


def _finite(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, not {text!r:.50}") from None
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, not {text}")
    return number


def _object(properties: object) -> Mapping[str, object]:
    """Return what the field `properties` holds: an object, or one as JSON text in a CSV cell."""
    if not properties:
        return {}
    loaded = json.loads(properties) if isinstance(properties, str) else properties
    if not isinstance(loaded, dict):
        raise TypeError("properties must be a JSON object")
    return loaded


def _time_reader(zone: tzinfo) -> Callable[[object], Timestamp]:
    @lru_cache(maxsize=100_000)
    def read(text: str) -> Timestamp:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"event_time must be ISO 8601, not {text!r:.50}") from None
        return timestamp(moment if moment.tzinfo else moment.replace(tzinfo=zone))

    def time_of(value: object) -> Timestamp:
        if not value:
            raise ValueError("event_time is required: with the id it tells one event from another")
        if not isinstance(value, str):
            raise TypeError(f"event_time must be a text in ISO 8601, not {value!r:.50}")
        return read(value)

    return time_of
