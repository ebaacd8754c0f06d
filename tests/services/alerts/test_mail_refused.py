"""What mail servers say besides yes: for now, for good, and after they took a message."""

from collections.abc import Callable, Iterator

import pytest
from brain.alerts.v1 import alert_pb2

from services.alerts.notice import Notice
from services.alerts.notify.email import Email, Smtp, is_address, message
from tests.clock import Clock
from tests.services.alerts.asking import create, deliveries, mail
from tests.services.alerts.conftest import HOUR, SECOND, Service
from tests.services.alerts.receivers import Mailbox, mail_receiver
from tests.services.alerts.scripted_source import Script

DELIVERED, FAILED = alert_pb2.DELIVERY_STATUS_DELIVERED, alert_pb2.DELIVERY_STATUS_FAILED


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_receiver() as started:
        yield started


@pytest.fixture
def service(start_service: Callable[..., Service], clock: Clock, script: Script, mailbox: Mailbox) -> Service:
    """An alert that has just fired, and mails."""
    made = start_service(
        smtp_address=f"127.0.0.1:{mailbox.port}", smtp_sender="brain@example.com", smtp_tls="off"
    )
    create(made, channels=[mail("ann@example.com")])
    script.values[clock.micros] = 3.0
    clock.micros += HOUR
    made.look()
    return made


def test_a_sender_or_recipient_refused_for_now_is_tried_again(
    service: Service, clock: Clock, mailbox: Mailbox
) -> None:
    mailbox.sender_refusals.extend(["451 grey-listed", "452 no room"])
    mailbox.recipient_refusals.append("450 busy")
    answers = []
    for _ in range(4):
        assert service.tell() == 1
        answers.append(deliveries(service)[0].answer)
        clock.micros += 60 * SECOND
    assert answers == ["451 grey-listed", "452 no room", "450 busy", "250 taken"]
    assert [each.status for each in deliveries(service)] == [DELIVERED]


def test_a_sender_refused_for_good_is_not_tried_again(service: Service, mailbox: Mailbox) -> None:
    mailbox.sender_refusals.append("550 not you")
    service.tell()
    assert [(each.status, each.answer) for each in deliveries(service)] == [(FAILED, "550 not you")]


def test_mail_that_was_taken_is_not_sent_again_for_a_bad_farewell(
    service: Service, clock: Clock, mailbox: Mailbox
) -> None:
    mailbox.farewell = "421 closing in a hurry"
    assert service.tell() == 1
    clock.micros += 60 * SECOND
    assert service.tell() == 0
    assert [each.status for each in deliveries(service)] == [DELIVERED]
    assert len(mailbox.mails) == 1


def test_an_address_that_no_mail_can_name_holds_nobody_up(mailbox: Mailbox, notice: Notice) -> None:
    server = Smtp("127.0.0.1", mailbox.port, "off", None, None, "brain@example.com")
    answer = Email(server).send(notice, "a..b@example.com", 1)
    assert (answer.delivered, answer.permanent, answer.text) == (
        False,
        True,
        "the recipient is no mail address",
    )


@pytest.mark.parametrize(
    ("address", "known"),
    [
        ("o'brien+x@localhost", True),
        ("a.b.c@mail.example.com", True),
        (f"{'a' * 64}@b.c", True),
        (f"{'a' * 65}@b.c", False),
        ("a..b@example.com", False),
        ("a.@example.com", False),
        ("a@b@example.com", False),
        ("a b@example.com", False),
        ("a@example..com", False),
    ],
)
def test_an_address_is_what_a_mail_can_name(address: str, notice: Notice, *, known: bool) -> None:
    assert is_address(address) == known
    if known:
        assert message(notice, "brain@example.com", address, 1)["To"] == address
