"""Receivers that repeat what they were sent: nothing of it that opens a door is kept or shown."""

import base64
from collections.abc import Callable

import pytest
from brain.alerts.v1 import alerts_pb2, definition_pb2
from pydantic import SecretStr

from services.alerts.notify.answer import shown
from services.alerts.notify.email import Smtp
from tests.clock import Clock
from tests.services.alerts.asking import create, deliveries, webhook
from tests.services.alerts.conftest import HOUR, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script

PATH, KEY = "/hooks/T0123456/B01234567", "k%2Fey-0123456789"


@pytest.fixture
def fire(service: Service, clock: Clock, script: Script) -> Callable[[definition_pb2.Channel], str]:
    """Tells a recipient, who refuses; returns what is kept of their answer, and what a trial shows."""

    def run(channel: definition_pb2.Channel) -> str:
        create(service, channels=[channel])
        script.values[clock.micros] = 3.0
        clock.micros += HOUR
        service.look()
        service.tell()
        tried = service.alerts.TestAlert(alerts_pb2.TestAlertRequest(alert_id="errors")).results
        return deliveries(service)[0].answer + tried[0].answer

    return run


@pytest.mark.parametrize("padding", [0, 480])
def test_a_webhook_that_repeats_its_address_does_not_tell_it(
    receiver: Receiver, fire: Callable[[definition_pb2.Channel], str], padding: int
) -> None:
    receiver.otherwise = lambda: (500, {})
    receiver.says = f"{'.' * padding} cannot POST {PATH}?key={KEY} (key k/ey-0123456789)"
    answer = fire(webhook(f"{receiver.url}{PATH}?key={KEY}"))
    assert answer.startswith("500 ")
    for secret in ("T0123", "B0123", "ey-01"):
        assert secret not in answer


def test_a_gateway_of_text_messages_that_repeats_its_token_does_not_tell_it(
    start_service: Callable[..., Service], receiver: Receiver, clock: Clock, script: Script
) -> None:
    service = start_service(
        sms_base_url=receiver.url, sms_account="AC1", sms_token="secret-token", sms_sender="+15550100"
    )
    credentials = base64.b64encode(b"AC1:secret-token").decode()
    receiver.otherwise = lambda: (500, {})
    receiver.says = f"not for Basic {credentials}, that is secret-token"
    number = definition_pb2.Channel(kind=definition_pb2.CHANNEL_KIND_SMS, recipients=["+4915112345678"])
    create(service, channels=[number])
    script.values[clock.micros] = 3.0
    clock.micros += HOUR
    service.look()
    service.tell()
    assert deliveries(service)[0].answer == "500 not for Basic …, that is …"


def test_a_mail_server_that_repeats_a_log_in_does_not_tell_it() -> None:
    server = Smtp("mail.example.com", 465, "implicit", "user", SecretStr("password"), "a@example.com")
    sent = [base64.b64encode(each).decode() for each in (b"\0user\0password", b"user", b"password")]
    said = shown(f"no: {' '.join(sent)} user password", server.secrets)
    assert said == "no: … … … … …"
