"""Bytes that are no messages: whatever field holds them is named."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from services.events.application import SERVICES
from tests.refusals import Refusal, refusal
from tests.services.events.conftest import Service

OTLP = "opentelemetry.proto"
BROKEN = b"\xc3\x28"  # a lead byte without its continuation
DEPTH = 4
METHODS: list[MethodDescriptor] = [
    method for service in SERVICES for method in descriptor_pool.Default().FindServiceByName(service).methods
]


def varint(number: int) -> bytes:
    head, rest = number & 0x7F, number >> 7
    return bytes([head | 0x80]) + varint(rest) if rest else bytes([head])


def delimited(field: FieldDescriptor, content: bytes) -> bytes:
    return varint(field.number << 3 | 2) + varint(len(content)) + content


def broken_texts(message: Descriptor, depth: int = DEPTH) -> Iterator[tuple[str, bytes]]:
    """Yield the path of every text of a message, and a message in which it is no UTF-8."""
    for field in message.fields:
        name = f"{field.name}[0]" if field.is_repeated else field.name
        if field.type == FieldDescriptor.TYPE_STRING:
            yield name, delimited(field, BROKEN)
        elif field.message_type is not None and depth > 1:
            for path, content in broken_texts(field.message_type, depth - 1):
                yield f"{name}.{path}", delimited(field, content)


def send(service: Service, method: MethodDescriptor, request: bytes) -> Refusal:
    calls: Any = service.channel
    name = f"/{method.containing_service.full_name}/{method.name}"

    def call() -> object:
        if method.client_streaming:
            return list(calls.stream_stream(name)(iter([request]), timeout=10))
        if method.server_streaming:
            return list(calls.unary_stream(name)(request))
        return calls.unary_unary(name)(request)

    return refusal(call)


@pytest.mark.parametrize(
    "method",
    [each for each in METHODS if any(True for _ in broken_texts(each.input_type))],
    ids=lambda method: method.name,
)
def test_a_text_that_is_no_utf8_is_named(service: Service, method: MethodDescriptor) -> None:
    texts = list(broken_texts(method.input_type))
    assert texts
    for path, request in texts:
        refused = send(service, method, request)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT, path
        assert refused.fields == {path: "is not valid UTF-8"}


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_bytes_that_are_no_message_are_refused(service: Service, method: MethodDescriptor) -> None:
    for request in (b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b", b"\x0a\x05ab", b"\x0d\x01"):
        refused = send(service, method, request)
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
        assert len(refused.fields) == 1


def field_of(message: str, name: str) -> FieldDescriptor:
    return descriptor_pool.Default().FindMessageTypeByName(message).fields_by_name[name]


def nested_value(levels: int) -> bytes:
    """Return a google.protobuf.Value of lists in lists."""
    values = field_of("google.protobuf.ListValue", "values")
    content = b""
    for _ in range(levels):
        content = delimited(field_of("google.protobuf.Value", "list_value"), delimited(values, content))
    return content


@pytest.mark.parametrize("name", ["TrackEvent", "TrackEvents", "TrackEventStream"])
def test_properties_nested_a_thousand_deep_are_refused_by_name(service: Service, name: str) -> None:
    entry = field_of("google.protobuf.Struct.FieldsEntry", "value")
    struct = delimited(field_of("google.protobuf.Struct", "fields"), delimited(entry, nested_value(1_000)))
    event = delimited(field_of("brain.events.v1.Event", "properties"), struct)
    [method] = [method for method in METHODS if method.name == name]
    [field] = method.input_type.fields
    refused = send(service, method, delimited(field, event))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    [(path, reason)] = refused.fields.items()
    assert path.startswith(("event.properties", "events[0].properties"))
    assert "nested" in reason


@pytest.mark.parametrize("name", ["QueryEvents", "ScanEvents", "CountEvents", "GetActiveUsers"])
def test_values_of_filters_nested_a_thousand_deep_are_refused_by_name(service: Service, name: str) -> None:
    condition = delimited(field_of("brain.common.v1.PropertyFilter", "values"), nested_value(1_000))
    [method] = [method for method in METHODS if method.name == name]
    refused = send(service, method, delimited(method.input_type.fields_by_name["filters"], condition))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    [(path, reason)] = refused.fields.items()
    assert path.startswith("filters[0].values[0]")
    assert "nested" in reason


def test_attributes_nested_a_thousand_deep_are_refused_by_name(service: Service) -> None:
    content = b""
    for _ in range(1_000):
        values = delimited(field_of(f"{OTLP}.common.v1.ArrayValue", "values"), content)
        content = delimited(field_of(f"{OTLP}.common.v1.AnyValue", "array_value"), values)
    for message, name in (
        ("common.v1.KeyValue", "value"),
        ("logs.v1.LogRecord", "attributes"),
        ("logs.v1.ScopeLogs", "log_records"),
        ("logs.v1.ResourceLogs", "scope_logs"),
        ("collector.logs.v1.ExportLogsServiceRequest", "resource_logs"),
    ):
        content = delimited(field_of(f"{OTLP}.{message}", name), content)
    [method] = [method for method in METHODS if method.name == "Export"]
    refused = send(service, method, content)
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    [(path, reason)] = refused.fields.items()
    assert path.startswith("resource_logs[0].scope_logs[0].log_records[0].attributes[0].value")
    assert "nested" in reason
