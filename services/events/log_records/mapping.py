"""Log records of OpenTelemetry made into events.

Names are those of https://opentelemetry.io/docs/specs/semconv/; docs/opentelemetry.md tells the rules.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from brain.events.v1.events_pb2 import Event

from services.events.domain import UserKind, Who
from services.events.ingest.batch import MAXIMUM_TEXT, SECOND_NANOS
from services.events.log_records.values import UnfitError, nested, read_attributes, to_json, within, without

if TYPE_CHECKING:
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource

    from shared.json_values import JsonValue as Json

_EVENT_NAME: Final = "event.name"  # before records had a field for it
_RECORD_ID: Final = "log.record.uid"
_SESSION: Final = ("session.id",)
_USER: Final = ("user.id", "enduser.id")
_ANONYMOUS: Final = ("app.installation.id", "enduser.pseudo.id")
_PAGE: Final = ("url.path", "url.full", "browser.document.url.full", "app.screen.name")
_USER_AGENT: Final = ("user_agent.original",)
# What became a field. Properties are stored readable: an id of a person must not be among them.
_FIELDS: Final = frozenset({_EVENT_NAME, _RECORD_ID, *_SESSION, *_USER, *_ANONYMOUS, *_USER_AGENT})
# Of networks: never kept. The last three are names that the first had; the headers tell it behind a proxy.
_ADDRESSES: Final = frozenset(
    {
        "client.address",
        "network.peer.address",
        "source.address",
        "http.request.header.forwarded",
        "http.request.header.x-forwarded-for",
        "http.request.header.x-real-ip",
        "http.client_ip",
        "net.peer.ip",
        "net.sock.peer.addr",
    }
)
_LEFT_OUT: Final = _FIELDS | _ADDRESSES
# The same where a map holds them: `user` with an `id` in it is `user.id` to whoever asks for properties.
_NOWHERE: Final = tuple(tuple(name.split(".")) for name in sorted({*_USER, *_ANONYMOUS, *_ADDRESSES}))
# What of a resource every event keeps: which application it is of. The rest is about machines.
_APPLICATION: Final = ("service.name", "service.version", "deployment.environment.name")
_OF_RESOURCES: Final = frozenset({*_SESSION, *_USER, *_ANONYMOUS, *_USER_AGENT, *_APPLICATION})
_OF_IDS: Final = frozenset({"string_value", "int_value"})
_ATTRIBUTES: Final = "attributes"
_BODY: Final = "body"

_AMOUNT: Final = ("revenue", "value")
# Which attributes the fields of an event come from.
_SOURCES: Final = {
    "event_id": (_RECORD_ID,),
    "user_id": _USER,
    "anonymous_id": _ANONYMOUS,
    "session_id": _SESSION,
    "value": _AMOUNT,
    "page": _PAGE,
    "user_agent": _USER_AGENT,
}


@dataclass(frozen=True, slots=True)
class Origin:
    """What the records of one resource have in common: what tells of who it is, and what events keep."""

    told: "dict[str, Json]"
    kept: "dict[str, Json]"


@dataclass(frozen=True, slots=True)
class Mapper:
    """Makes log records into events; `session_of` names the session that somebody's record leaves open."""

    session_of: Callable[[Who], str]

    def event(self, record: "LogRecord", origin: Origin, made_id: Callable[[], str]) -> Event:
        """Return the event of a record, with the id it has or else a made one; raise UnfitError."""
        attributes = read_attributes(record.attributes)
        told = _take_fields(attributes)
        name = record.event_name or told.get(_EVENT_NAME)
        if not name or not isinstance(name, str):
            raise UnfitError("event_name", "is required: a log record without one is no event")
        nanos = record.time_unix_nano or record.observed_time_unix_nano
        if not nanos:
            raise UnfitError("time_unix_nano", "is required, or observed_time_unix_nano")
        user = _identifier(_USER, told, origin.told)
        anonymous = _identifier(_ANONYMOUS, told, origin.told)
        session = _identifier(_SESSION, told, origin.told)
        event = Event(
            event_id=_identifier((_RECORD_ID,), told) or made_id(),
            user_id=user,
            anonymous_id=anonymous,
            session_id=session or self._session(user, anonymous),
            event=name,
            page=_text(_PAGE, attributes),
            user_agent=_text(_USER_AGENT, told, origin.told),
        )
        when = event.event_time
        when.seconds, when.nanos = divmod(nanos, SECOND_NANOS)
        named = {**origin.kept, **_body(record), **attributes}
        if named:
            _set_amount(event, named)
            properties = nested(named)
            without(properties, _NOWHERE)
            event.properties_json = orjson.dumps(properties).decode()
        return event

    def _session(self, user: str, anonymous: str) -> str:
        if user:
            return self.session_of((UserKind.USER, user))
        if anonymous:
            return self.session_of((UserKind.ANONYMOUS, anonymous))
        names = ", ".join((*_USER, *_ANONYMOUS))
        raise UnfitError(
            within(_ATTRIBUTES, _SESSION[0]), f"is required where none of {names} says who did it"
        )


def read_origin(resource: "Resource") -> Origin:
    """Return what a resource says of its records."""
    told = {
        each.key: to_json(each.value)
        for each in resource.attributes
        if each.key in _OF_RESOURCES and each.value.WhichOneof("value") in _OF_IDS
    }
    return Origin(told, {name: told[name] for name in _APPLICATION if name in told})


def source_of(field: str, record: "LogRecord") -> str:
    """Return what of a record a field of its event was made of."""
    if field == "event":
        return "event_name"
    if field == "event_time":
        return "time_unix_nano" if record.time_unix_nano else "observed_time_unix_nano"
    names = _SOURCES.get(field)
    if names is None:  # of the properties
        return _ATTRIBUTES
    present = {each.key for each in record.attributes}
    return within(_ATTRIBUTES, next((name for name in names if name in present), names[0]))


def _identifier(names: "tuple[str, ...]", *places: "Mapping[str, Json]") -> str:
    """Return an id, "" where there is none, from the first place that has one; raise UnfitError."""
    for place in filter(None, places):
        for name in names:
            value = place.get(name)
            if value is None or value == "":
                continue
            if isinstance(value, bool) or not isinstance(value, str | int):
                raise UnfitError(within(_ATTRIBUTES, name), "must be a string or a whole number")
            return str(value)
    return ""


def _text(names: "tuple[str, ...]", *places: "Mapping[str, Json]") -> str:
    """Return a text, cut to what an event takes: its length is no reason to lose an event."""
    for place in filter(None, places):
        for name in names:
            value = place.get(name)
            if value and isinstance(value, str):
                return value[:MAXIMUM_TEXT]
    return ""


def _body(record: "LogRecord") -> "dict[str, Json]":
    """Return what a record's body adds to the properties; raise UnfitError."""
    kind = record.body.WhichOneof("value")
    if kind is None:
        return {}
    if kind == "kvlist_value":
        named = read_attributes(record.body.kvlist_value.values, _BODY)
        _take_fields(named)
        return named
    try:
        return {_BODY: to_json(record.body)}
    except ValueError as error:
        raise UnfitError(_BODY, str(error)) from None


def _take_fields(attributes: "dict[str, Json]") -> "dict[str, Json]":
    """Remove what is not to be among the properties, and return it."""
    return {name: attributes.pop(name) for name in _LEFT_OUT & attributes.keys()}


def _set_amount(event: Event, named: "dict[str, Json]") -> None:
    """Set the amount that properties tell of, as captured events have it."""
    for name in _AMOUNT:
        amount = named.get(name)
        if isinstance(amount, int | float) and not isinstance(amount, bool):
            event.value = amount
            event.category = name if name == "revenue" else ""
            return
