"""Slack and text messages, delivered to a receiver of their shape over HTTP."""

import base64
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2

from tests.clock import Clock
from tests.services.alerts.asking import create, deliveries
from tests.services.alerts.conftest import HOUR, SECOND, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script

NUMBER = "+4915112345678"
DELIVERED, FAILED = alert_pb2.DELIVERY_STATUS_DELIVERED, alert_pb2.DELIVERY_STATUS_FAILED


@pytest.fixture
def service(start_service: Callable[..., Service], receiver: Receiver) -> Service:
    return start_service(
        slack_base_url=receiver.url,
        sms_base_url=receiver.url,
        sms_account="AC/1",
        sms_token="secret",
        sms_sender="+15550100",
    )


@pytest.fixture
def fire(service: Service, clock: Clock, script: Script) -> Callable[..., None]:
    """Tells of an hour with three errors; fields of the definition may be given by name."""

    def run(kind: definition_pb2.ChannelKind.ValueType, recipient: str, **changes: Any) -> None:  # noqa: ANN401 - fields of the message
        create(service, channels=[definition_pb2.Channel(kind=kind, recipients=[recipient])], **changes)
        script.values[clock.micros] = 3.0
        clock.micros += HOUR
        service.look()
        service.tell()

    return run


def test_slack_is_told_in_blocks_that_mention_nobody(receiver: Receiver, fire: Callable[..., None]) -> None:
    fire(
        definition_pb2.CHANNEL_KIND_SLACK,
        f"{receiver.url}/services/T0/B0/x",
        name="Errors <!channel> & more",
        message="<@U1> $metric is $value",
    )
    [post] = receiver.received
    assert (post.path, post.headers["Content-Type"]) == ("/services/T0/B0/x", "application/json")
    # What notifications show is markup, the header block is plain text.
    assert post.json["text"] == "FIRING: Errors &lt;!channel&gt; &amp; more"
    header, own, facts = post.json["blocks"]
    assert header == {
        "type": "header",
        "text": {"type": "plain_text", "text": "FIRING: Errors <!channel> & more"},
    }
    assert own["text"] == {"type": "mrkdwn", "text": "&lt;@U1&gt; event_count (event=error) is 3"}
    lines = facts["text"]["text"].split("\n")
    assert "*fires when*: above 2" in lines
    assert "*value*: 3" in lines
    assert "*window*: 2011-11-11 08:00 to 2011-11-11 09:00 UTC" in lines


def test_slack_takes_no_more_than_its_blocks_hold(receiver: Receiver, fire: Callable[..., None]) -> None:
    fire(definition_pb2.CHANNEL_KIND_SLACK, f"{receiver.url}/x", name="e" * 200, message="x" + "&" * 999)
    header, own, _ = receiver.received[0].json["blocks"]
    # https://docs.slack.dev/reference/block-kit/blocks: 150 characters of a header, 3,000 of a section.
    assert len(header["text"]["text"]) == 150
    assert len(own["text"]["text"]) <= 3_000
    assert own["text"]["text"].replace("&amp;", "") == "x"  # no half of an entity


def test_a_text_message_is_a_form_with_credentials(
    service: Service, receiver: Receiver, fire: Callable[..., None]
) -> None:
    fire(definition_pb2.CHANNEL_KIND_SMS, NUMBER, name="Fehler & Ärger")
    [post] = receiver.received
    # https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource
    assert post.path == "/2010-04-01/Accounts/AC%2F1/Messages.json"
    assert post.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert base64.b64decode(post.headers["Authorization"].removeprefix("Basic ")) == b"AC/1:secret"
    form = parse_qs(post.body.decode(), strict_parsing=True)
    assert (form["To"], form["From"]) == ([NUMBER], ["+15550100"])
    assert form["Body"][0].startswith("FIRING: Fehler & Ärger (3, ")
    assert deliveries(service)[0].status == DELIVERED


def test_a_long_text_message_is_cut(receiver: Receiver, fire: Callable[..., None]) -> None:
    fire(definition_pb2.CHANNEL_KIND_SMS, NUMBER, name="e" * 200)
    [body] = parse_qs(receiver.received[0].body.decode())["Body"]
    assert (len(body), body[-1]) == (134, "…")


def test_a_number_that_does_not_exist_is_given_up_and_said(
    service: Service, receiver: Receiver, fire: Callable[..., None]
) -> None:
    receiver.answer(400)
    fire(definition_pb2.CHANNEL_KIND_SMS, NUMBER)
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.attempts, delivery.answer) == (FAILED, 1, "400 told 400")


def test_too_many_text_messages_are_sent_again(
    service: Service, clock: Clock, receiver: Receiver, fire: Callable[..., None]
) -> None:
    receiver.answer(429)
    receiver.answer(503, Retry_After="30")
    fire(definition_pb2.CHANNEL_KIND_SMS, NUMBER)
    for _ in range(2):
        clock.micros += 30 * SECOND
        service.tell()
    assert [each.status for each in deliveries(service)] == [DELIVERED]
    assert len({post.body for post in receiver.received}) == 1
    assert len(receiver.received) == 3
