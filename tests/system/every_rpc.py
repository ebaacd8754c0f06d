"""Every RPC of the suite, asked with a text in every field, with what is no message, and by strangers."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.access import full_name, methods_of

CONTRACTS = {
    "events": ("EventsService",),
    "experiments": ("ExperimentsService", "StatisticsService"),
    "funnels": ("FunnelsService",),
    "forecasting": ("ForecastingService",),
    "alerts": ("AlertsService",),
}
_CALL_SECONDS = 5
_DEEPEST = 4


def names_of(service: str) -> list[str]:
    """Return the contracts of a service: its own, and those that every service has."""
    own = [f"brain.{service}.v1.{each}" for each in CONTRACTS[service]]
    return [*own, "brain.privacy.v1.PrivacyService", "brain.audit.v1.AuditService"]


def of_service(service: str) -> list[MethodDescriptor]:
    """Return its RPCs."""
    return methods_of(names_of(service))


def requests(method: MethodDescriptor, text: str) -> Iterator[bytes]:
    """Yield a request with a text wherever one fits, and two that are broken: in UTF-8, and altogether."""
    yield filled(method.input_type, text).SerializeToString()
    broken = text.encode() + b"\xff\xfe"
    yield b"".join(
        bytes((number << 3 | 2, len(broken))) + broken  # a field of text or of bytes, as both are sent
        for number in range(1, 16)
    )
    yield text.encode()


def filled(kind: Descriptor, text: str, depth: int = 0) -> Message:
    """Return a message with a text in every field that takes one."""
    message: Message = GetMessageClass(kind)()
    for field in kind.fields:
        if field.message_type is None:
            _set(message, field, _value(field, text))
        elif field.message_type.GetOptions().map_entry:
            _set_entry(message, field, text)
        elif depth < _DEEPEST:
            inner = filled(field.message_type, text, depth + 1)
            place = getattr(message, field.name)
            (place.add() if field.is_repeated else place).CopyFrom(inner)
    return message


def _set(message: Message, field: FieldDescriptor, value: object) -> None:
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def _set_entry(message: Message, field: FieldDescriptor, text: str) -> None:
    assert field.message_type is not None, "only for maps"
    if field.message_type.fields_by_name["value"].type == FieldDescriptor.TYPE_STRING:
        getattr(message, field.name)[text] = text


def _value(field: FieldDescriptor, text: str) -> object:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING:
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_BOOL:
            return True
        case FieldDescriptor.CPPTYPE_ENUM:
            assert field.enum_type is not None, "an enum has a type"
            return field.enum_type.values[-1].number
        case _:
            return 1


def outcome(channel: Any, name: str, token: str, request: bytes) -> bytes:  # noqa: ANN401 - bytes go in
    """Call an RPC, whatever its arity, with one message; return all that its status says."""
    metadata = (("authorization", f"Bearer {token}"),)
    call = channel.stream_stream(name)(iter([request]), timeout=_CALL_SECONDS, metadata=metadata)
    try:
        for _ in call:
            pass
    except grpc.RpcError as error:
        return repr((error, call.trailing_metadata())).encode()
    return b""


def outcomes(channel: grpc.Channel, service: str, text: str, token: str) -> Iterator[bytes]:
    """Ask a service's RPCs, each in every way."""
    for method in of_service(service):
        yield from map(partial(outcome, channel, full_name(method), token), requests(method, text))
