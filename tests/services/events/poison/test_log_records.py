"""Poisonous log records: each is refused by name and alone, whatever stands beside it."""

from datetime import UTC, datetime
from time import monotonic
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.log_records.exporting import LOGS, attributes, export, record, send
from tests.services.events.poison.conftest import stored
from tests.services.events.poison.test_bytes import delimited

MEBIBYTE = 1 << 20
EXPORT = ExportLogsServiceRequest.DESCRIPTOR


def year(number: int) -> int:
    return int(datetime(number, 6, 1, tzinfo=UTC).timestamp()) * 1_000_000_000


def good(name: Any = "tried", **named: Any) -> LogRecord:  # noqa: ANN401 - attributes
    return record(name, **{"user.id": "bob", **named})


def lists(depth: int) -> AnyValue:
    value = AnyValue(int_value=1)
    for _ in range(depth):
        value = AnyValue(array_value=ArrayValue(values=[value]))
    return value


def objects(depth: int) -> AnyValue:
    value = AnyValue(int_value=1)
    for _ in range(depth):
        value = AnyValue(kvlist_value=KeyValueList(values=[KeyValue(key="k", value=value)]))
    return value


def numbered(key: str, number: float) -> AnyValue:
    return AnyValue(kvlist_value=KeyValueList(values=attributes(**{key: number})))


NAN, INFINITY = float("nan"), float("inf")
# Each with the field that is named.
POISON = {
    "no name": (good(""), "event_name"),
    "huge name": (good("e" * 201), "event_name"),
    "NUL in the name": (good("a\0b"), "event_name"),
    "no time": (good(time=0), "time_unix_nano"),
    "1970": (good(time=1), "time_unix_nano"),
    "1999": (good(time=year(1999)), "time_unix_nano"),
    "two days ahead": (good(time=1_321_172_800_000_000_000), "time_unix_nano"),
    "the last instant": (good(time=2**64 - 1), "time_unix_nano"),
    "observed in 1999": (good(time=0, observed=year(1999)), "observed_time_unix_nano"),
    "huge user": (good(user__id="u" * 201), 'attributes["user.id"]'),
    "NUL in the user": (good(user__id="u\0"), 'attributes["user.id"]'),
    "user is a number with a point": (good(user__id=1.5), 'attributes["user.id"]'),
    "huge installation": (good(app__installation__id="u" * 201), 'attributes["app.installation.id"]'),
    "huge session": (good(session__id="s" * 201), 'attributes["session.id"]'),
    "huge id": (good(log__record__uid="i" * 201), 'attributes["log.record.uid"]'),
    "huge end user": (record(enduser__id="u" * 201), 'attributes["enduser.id"]'),
    "nobody": (record("tried"), 'attributes["session.id"]'),
    "NaN": (good(size=NAN), 'attributes["size"]'),
    "infinity": (good(size=-INFINITY), 'attributes["size"]'),
    "infinity within": (good(deep=numbered("n", INFINITY)), 'attributes["deep"]'),
    "NaN in the body": (good(body=AnyValue(double_value=NAN)), "body"),
    "NaN in the body's map": (good(body=numbered("n", NAN)), 'body["n"]'),
    "huge amount": (good(value=-1e13), 'attributes["value"]'),
    "huge revenue": (good(revenue=1e13, value=1), 'attributes["revenue"]'),
    "NUL in a value": (good(text="a\0b"), "attributes"),
    "NUL in a name": (good(**{"a\0b": 1}), "attributes"),
    "64 KiB": (good(text="x" * 65_536), "attributes"),
    "a table of strings": (good(text=AnyValue(string_value_strindex=1)), 'attributes["text"]'),
    "lists in lists": (good(deep=lists(40)), "attributes"),
    "objects in objects": (good(deep=objects(30), body=objects(30), a__b__c=objects(30)), "attributes"),
    "huge body": (good(body=AnyValue(bytes_value=b"x" * MEBIBYTE)), "attributes"),
    "huge page with a NUL": (good(url__path="/\0" + "x" * 5_000), 'attributes["url.path"]'),
}


@pytest.mark.parametrize(("poison", "field"), POISON.values(), ids=POISON)
def test_a_poisonous_record_is_refused_and_its_field_named(
    service: Service, poison: LogRecord, field: str
) -> None:
    answer = export(service, poison).partial_success
    assert answer.rejected_log_records == 1
    assert answer.error_message.startswith(f"resource_logs[0].scope_logs[0].log_records[0].{field} ")
    assert len(answer.error_message) < 500
    assert not stored(service)


def test_poison_spoils_nothing_beside_it(service: Service) -> None:
    records = [good("first")]
    for number, (poison, _) in enumerate(POISON.values()):
        records += [poison, good(f"between-{number}")]
    answer = export(service, *records)
    assert answer.partial_success.rejected_log_records == len(POISON)
    assert {event.event for event in stored(service)} == {
        "first",
        *(f"between-{number}" for number in range(len(POISON))),
    }


def test_what_is_odd_and_no_poison_is_kept(service: Service) -> None:
    odd = {"": "", ".": 1, "a..b": True, "né": "√", "x" * 1_000: 2**63 - 1, "\U0001f600": b""}
    answer = export(service, good(**odd), good("deep", deep=objects(27)), good("\U0001f600"))
    assert not answer.HasField("partial_success")
    assert len(stored(service)) == 3


@pytest.mark.parametrize("within", ["resource_logs", "scope_logs"])
def test_an_export_of_a_million_empty_parts_is_refused_at_once(service: Service, within: str) -> None:
    parts = b"\x12\x00" * 1_000_000 if within == "scope_logs" else b""
    message = delimited(EXPORT.fields_by_name["resource_logs"], parts)
    calls: Any = service.channel
    times = 1 if parts else 1_000_000
    refused = refusal(lambda: calls.unary_unary(f"/{LOGS}/Export")(message * times, timeout=5))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "1,000,000" in refused.fields["resource_logs"]


def test_a_large_resource_with_many_scopes_costs_no_more_than_its_size(service: Service) -> None:
    resource = Resource(attributes=attributes(text="x" * 3 * MEBIBYTE))
    scopes = [ScopeLogs(log_records=[good(f"e{number % 7}", n=number)]) for number in range(10_000)]
    logs = ResourceLogs(resource=resource, scope_logs=scopes)
    began = monotonic()
    send(service.channel, ExportLogsServiceRequest(resource_logs=[logs]))
    assert monotonic() - began < 15, "hashing it for every scope takes a minute"
    assert len({event.event for event in stored(service)}) == 7
