"""Events from OpenTelemetry's SDK and exporter, against a running service."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import grpc
import pytest
from brain.common.v1.common_pb2 import PROPERTY_OPERATOR_GREATER, PropertyFilter
from brain.events.v1 import events_pb2 as pb
from brain.privacy.v1 import privacy_pb2
from google.protobuf.struct_pb2 import Value
from google.rpc import code_pb2, error_details_pb2
from grpc_status import rpc_status

from shared.auth import Role, mint_token
from shared.clients import channel
from tests.refusals import refusal
from tests.services.events.conftest import Service
from tests.services.events.log_records.exporting import (
    NANOS,
    PERSON,
    Exporting,
    counted,
    export,
    record,
    request,
    send,
    stored,
)
from tests.services.events.test_measures import scrape


@pytest.fixture
def exporting(service: Service, token_keys: tuple[bytes, bytes]) -> Exporting:
    token = mint_token(token_keys[0], "shop", [Role.INGEST], None, 0)
    return Exporting(service.application.server.port, token)


def test_what_the_sdk_logs_as_an_event_is_one(service: Service, exporting: Exporting) -> None:
    with exporting.logger(**{"service.name": "shop", "host.name": "web-3"}) as logger:
        logger.emit(
            timestamp=NANOS,
            event_name="order_placed",
            body={"coupon": "AUTUMN", "lines": [{"sku": "a", "price": 1.5}]},
            attributes={**PERSON, "cart.items": 3, "cart.gift": True, "revenue": 12.25, "url.path": "/pay"},
        )
    [event] = stored(service)
    assert (event.event, event.user_id, event.session_id, event.page) == (
        "order_placed",
        "ann",
        "s-1",
        "/pay",
    )
    assert (event.value, event.category) == (12.25, "revenue")
    assert event.event_time.ToNanoseconds() == NANOS
    assert json.loads(event.properties_json) == {
        "service": {"name": "shop"},
        "cart": {"items": 3, "gift": True},
        "coupon": "AUTUMN",
        "lines": [{"sku": "a", "price": 1.5}],
        "revenue": 12.25,
        "url": {"path": "/pay"},
    }
    assert counted(service) == (1, 1)


def test_attributes_are_found_by_their_names(service: Service, exporting: Exporting) -> None:
    with exporting.logger() as logger:
        for number in range(4):
            logger.emit(
                timestamp=NANOS + number, event_name="paid", attributes={**PERSON, "cart.items": number}
            )
    wanted = PropertyFilter(
        property="cart.items", operator=PROPERTY_OPERATOR_GREATER, values=[Value(number_value=1)]
    )
    assert len(service.events.QueryEvents(pb.QueryEventsRequest(filters=[wanted])).events) == 2


def test_sessions_left_open_are_one_for_each_person_and_name_nobody(
    service: Service, exporting: Exporting
) -> None:
    for _ in range(2):
        with exporting.logger() as logger:
            for number, user in enumerate(("ann", "bob")):
                logger.emit(timestamp=NANOS + number, event_name="ran", attributes={"user.id": user})
    sessions = {event.user_id: event.session_id for event in stored(service)}
    assert len(set(sessions.values())) == 2
    assert not any(user in session for user, session in sessions.items())
    assert counted(service) == (4, 2)


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_many_threads_export_everything_once(
    service: Service, exporting: Exporting, compression: grpc.Compression
) -> None:
    compressed = replace(exporting, options={"compression": compression})
    with compressed.logger() as logger, ThreadPoolExecutor(4) as pool:

        def work(worker: int) -> None:
            for number in range(400):
                person = {"user.id": f"user-{worker}", "session.id": "s"}
                logger.emit(timestamp=NANOS + number * 1_000, event_name="worked", attributes=person)

        list(pool.map(work, range(4)))
    assert counted(service) == (1_600, 4)


def test_ordinary_log_lines_are_no_events_and_spoil_none(service: Service, exporting: Exporting) -> None:
    with exporting.logger() as logger:
        logger.emit(timestamp=NANOS, body="connection opened")
        logger.emit(timestamp=NANOS, event_name="looked", attributes=PERSON)
        logger.emit(timestamp=NANOS, body="connection closed", attributes=PERSON)
    assert [event.event for event in stored(service)] == ["looked"]


def test_what_is_refused_is_told_with_its_place_and_field(service: Service) -> None:
    somebody = {"user__id": "ann"}
    answer = export(
        service, record("", **somebody), record("looked", **somebody), record("looked", time=0, **somebody)
    )
    assert answer.partial_success.rejected_log_records == 2
    first, second = answer.partial_success.error_message.split("; ")
    assert first.startswith("resource_logs[0].scope_logs[0].log_records[0].event_name is required")
    assert second.startswith("resource_logs[0].scope_logs[0].log_records[2].time_unix_nano is required")
    assert counted(service) == (1, 1)


def test_an_export_without_any_event_is_answered_all_the_same(service: Service) -> None:
    answer = export(service, *[record("")] * 12)
    assert answer.partial_success.rejected_log_records == 12
    assert answer.partial_success.error_message.count("event_name") == 5
    assert answer.partial_success.error_message.endswith("; and more")


def test_nothing_is_said_of_what_is_stored(service: Service) -> None:
    for answer in (export(service), export(service, record(user__id="ann"))):
        assert not answer.HasField("partial_success")


def test_more_than_a_batch_of_events_is_stored(service: Service) -> None:
    records = [record(user__id=f"user-{number}") for number in range(8_192)]
    records[7_000] = record("", user__id="ann")
    answer = export(service, *records)
    assert answer.partial_success.rejected_log_records == 1
    assert "log_records[7000].event_name" in answer.partial_success.error_message
    assert counted(service) == (8_191, 8_191)


def test_an_export_of_too_many_records_is_refused(service: Service) -> None:
    refused = refusal(lambda: export(service, *[record(user__id="ann")] * 20_001))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "20,000" in refused.fields["resource_logs"]
    assert counted(service) == (0, 0)


@pytest.mark.parametrize("role", [None, Role.ANALYST])
def test_nobody_exports_without_the_role(
    service: Service, exporting: Exporting, token_keys: tuple[bytes, bytes], role: Role | None
) -> None:
    token = mint_token(token_keys[0], "somebody", [role], None, 0) if role else None
    with replace(exporting, token=token).logger() as logger:
        logger.emit(timestamp=NANOS, event_name="looked", attributes=PERSON)
    assert stored(service) == []


def test_an_exporter_beyond_its_quota_is_told_when_to_come_back(
    service: Service, token_keys: tuple[bytes, bytes]
) -> None:
    token = mint_token(token_keys[0], "shop", [Role.INGEST], None, 0, events_per_minute=10)
    records = [record(user__id=f"user-{number}") for number in range(10)]
    with channel(f"127.0.0.1:{service.application.server.port}", token) as calls:
        send(calls, request(*records))
        with pytest.raises(grpc.RpcError) as refused:
            send(calls, request(*records[:6]))
        too_many = refusal(lambda: send(calls, request(*records, *records)))
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]  # it is a Call as well
    retry = error_details_pb2.RetryInfo()
    assert status is not None
    assert status.code == code_pb2.RESOURCE_EXHAUSTED
    assert any(detail.Unpack(retry) for detail in status.details)
    assert 0 < retry.retry_delay.ToTimedelta().total_seconds() <= 36
    assert too_many.code is grpc.StatusCode.INVALID_ARGUMENT


def test_events_of_the_erased_are_refused_by_the_name_of_their_id(service: Service) -> None:
    export(service, record(user__id="ann"), record(user__id="bob"))
    person = pb.UserReference(kind=pb.USER_KIND_USER, id="ann")
    mode = privacy_pb2.ERASURE_MODE_ERASE
    service.privacy.EraseUser(privacy_pb2.EraseUserRequest(user=person, mode=mode))
    answer = export(service, record(user__id="ann"))
    assert 'attributes["user.id"] erased' in answer.partial_success.error_message
    assert [event.user_id for event in stored(service)] == ["bob"]


def test_exports_are_counted_as_events_are(service: Service) -> None:
    export(service, record(user__id="ann"), record(""))
    export(service, record(user__id="ann"))
    seen = scrape(service)
    for result in ("accepted", "duplicate", "rejected"):
        assert seen[f'events_tracked_total{{result="{result}"}}'] == 1
