"""Recipients: encrypted where they lie, shown to those who may, exported and erased."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.events.v1.events_pb2 import USER_KIND_SESSION, USER_KIND_USER, UserReference
from brain.privacy.v1 import privacy_pb2
from sqlalchemy import text

from shared.auth import Role, mint_token
from shared.clients import channel
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.alerts.asking import create, deliveries, get, webhook
from tests.services.alerts.conftest import HOUR, Service
from tests.services.alerts.receivers import http_receiver, mail_receiver
from tests.services.alerts.scripted_source import Script

ANN, BOB = "ann@example.com", "+4915112345678"
CHANNELS = [
    definition_pb2.Channel(kind=definition_pb2.CHANNEL_KIND_EMAIL, recipients=[ANN, "Cid@Example.com"]),
    definition_pb2.Channel(kind=definition_pb2.CHANNEL_KIND_SMS, recipients=[BOB]),
]


@pytest.fixture
def service(start_service: Callable[..., Service], clock: Clock, script: Script) -> Service:
    """An alert that told three people once, none of whom is reached."""
    made = start_service(
        smtp_address="127.0.0.1:1",
        smtp_sender="brain@example.com",
        sms_base_url="http://127.0.0.1:1/",
        sms_account="account",
        sms_token="secret",
        sms_sender="+15550100",
    )
    create(made, channels=CHANNELS)
    script.otherwise = 9.0
    clock.micros += HOUR
    made.look()
    return made


def user(address: str) -> UserReference:
    return UserReference(kind=USER_KIND_USER, id=address)


def export(service: Service, address: str) -> list[dict[str, object]]:
    replies = service.privacy.ExportUser(privacy_pb2.ExportUserRequest(user=user(address)))
    return [json.loads(line) for reply in replies for line in reply.json_lines]


def erase(service: Service, mode: privacy_pb2.ErasureMode.ValueType) -> dict[str, int]:
    request = privacy_pb2.EraseUserRequest(user=user("ANN@example.com"), mode=mode)
    return {each.table: each.rows for each in service.privacy.EraseUser(request).touched_tables}


def everything(service: Service) -> str:
    tables = (
        "alerts",
        "alert_states",
        "recipients",
        "alert_recipients",
        "history",
        "outbox",
        "audit_entries",
    )
    with service.engine.begin() as connection:
        return "\n".join(
            str(row)
            for table in tables
            for row in connection.execute(text(f"SELECT to_jsonb(t) FROM {table} t"))
        )


def test_no_address_is_readable_in_the_database(service: Service) -> None:
    stored = everything(service)
    assert "Errors" in stored
    for address in (ANN, BOB, "example.com", "15112345678"):
        assert address not in stored
        assert address.encode().hex() not in stored


def test_addresses_are_shown_in_full_to_administrators_alone(
    service: Service, token_keys: tuple[bytes, bytes]
) -> None:
    assert list(get(service).definition.channels) == CHANNELS
    token = mint_token(token_keys[0], "ana", [Role.ANALYST], None, 0)
    with channel(f"127.0.0.1:{service.application.server.port}", token) as calls:
        stub = AlertsServiceStub(calls)
        shown = stub.GetAlert(pb.GetAlertRequest(alert_id="errors")).alert.definition.channels
        told = stub.ListDeliveries(pb.ListDeliveriesRequest()).deliveries
    assert [list(each.recipients) for each in shown] == [["a…@example.com", "C…@Example.com"], ["+49…78"]]
    assert {each.recipient for each in told} == {"a…@example.com", "C…@Example.com", "+49…78"}


def test_receivers_that_repeat_an_address_do_not_have_it_kept(
    start_service: Callable[..., Service], clock: Clock, script: Script
) -> None:
    with mail_receiver() as mailbox, http_receiver() as receiver:
        service = start_service(
            smtp_address=f"127.0.0.1:{mailbox.port}", smtp_sender="brain@example.com", smtp_tls="off"
        )
        url = f"{receiver.url}/hooks/7f3a9c"
        create(service, channels=[CHANNELS[0], webhook(url)])
        script.otherwise = 9.0
        clock.micros += HOUR
        service.look()
        mailbox.recipient_refusals.extend([f"550 <{ANN.upper()}>: unknown", "451 cid@example.com is busy"])
        receiver.says = f"no such hook: {url}"
        service.tell()
        answers = [each.answer for each in deliveries(service)]
    assert answers == [
        "550 <a…@example.com>: unknown",
        "451 C…@Example.com is busy",
        f"200 no such hook: {receiver.url}…",
    ]


def test_what_is_held_is_exported(service: Service) -> None:
    recipient, delivery = export(service, ANN)
    assert (recipient["table"], recipient["address"]) == ("recipients", ANN)
    assert recipient["alert_ids"] == ["errors"]
    assert (delivery["table"], delivery["alert_id"]) == ("outbox", "errors")
    assert export(service, "nobody@example.com") == []


def test_the_erased_are_told_nothing_more(service: Service) -> None:
    receipt = erase(service, privacy_pb2.ERASURE_MODE_ERASE)
    assert receipt == {"outbox": 1, "alert_recipients": 1, "recipients": 1, "tombstones": 1}
    assert export(service, ANN) == []
    assert len(deliveries(service)) == 2
    assert [list(each.recipients) for each in get(service).definition.channels] == [
        ["Cid@Example.com"],
        [BOB],
    ]
    assert ANN not in everything(service)


def test_of_the_anonymised_it_stays_that_somebody_was_told(service: Service) -> None:
    erase(service, privacy_pb2.ERASURE_MODE_ANONYMIZE)
    service.tell()
    [told] = [each for each in deliveries(service) if not each.recipient]
    assert (told.status, told.answer) == (alert_pb2.DELIVERY_STATUS_FAILED, "the recipient was erased")
    assert export(service, ANN) == []


def test_tombstones_erase_in_a_restored_database_and_only_once(service: Service) -> None:
    erase(service, privacy_pb2.ERASURE_MODE_ERASE)
    tombstones = service.privacy.ListTombstones(privacy_pb2.ListTombstonesRequest()).tombstones
    with service.engine.begin() as connection:
        connection.execute(text("DELETE FROM tombstones"))
    create(service, "again", channels=CHANNELS)
    request = privacy_pb2.ApplyTombstonesRequest(tombstones=tombstones)
    applied = service.privacy.ApplyTombstones(request)
    assert (applied.applied, applied.erased_ids) == (1, 1)
    assert service.privacy.ApplyTombstones(request).applied == 0


def test_a_journal_tells_a_restored_database_at_the_start(
    service: Service, start_service: Callable[..., Service], tmp_path: Path
) -> None:
    journal = tmp_path / "erasures"
    erase(start_service(erasure_journal=journal), privacy_pb2.ERASURE_MODE_ERASE)
    assert "ann" not in journal.read_text()
    with service.engine.begin() as connection:
        connection.execute(text("DELETE FROM tombstones"))
    create(service, "again", channels=CHANNELS)
    assert len(export(service, ANN)) == 1
    start_service(erasure_journal=journal)
    assert export(service, ANN) == []
    create(service, "after", channels=CHANNELS)
    start_service(erasure_journal=journal)  # it knows this erasure by now: later addresses are new ones
    assert len(export(service, ANN)) == 1


def test_nothing_is_held_of_visitors_and_sessions(service: Service) -> None:
    session = UserReference(kind=USER_KIND_SESSION, id=ANN)
    request = privacy_pb2.EraseUserRequest(user=session, mode=privacy_pb2.ERASURE_MODE_ERASE)
    assert not any(each.rows for each in service.privacy.EraseUser(request).touched_tables)
    assert not list(service.privacy.ExportUser(privacy_pb2.ExportUserRequest(user=session)))
    assert len(export(service, ANN)) == 2
    nobody = refusal(lambda: service.privacy.EraseUser(privacy_pb2.EraseUserRequest()))
    assert set(nobody.fields) == {"user.kind", "user.id", "mode"}
