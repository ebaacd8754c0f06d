"""Row 11: a mail server refuses for now in every way there is, and who mails is killed in between."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import time

import pytest
from brain.alerts.v1 import alert_pb2

from tests.clock import Clock
from tests.faults.alerts_processes import SECOND, asked, end_leases, replica
from tests.faults.conftest import Database
from tests.faults.servers import KEY, SERVING, Server, running, within
from tests.services.alerts.asking import create, deliveries, mail
from tests.services.alerts.receivers import Mailbox, mail_receiver
from tests.services.alerts.scripted_source import Script, scripted_source

pytestmark = pytest.mark.faults

DELIVERED = alert_pb2.DELIVERY_STATUS_DELIVERED
RECIPIENTS = ("ann@example.com", "bob@example.com", "cid@example.com")
TELL_SECONDS = 60.0


@pytest.fixture
def script() -> Iterator[Script]:
    """Every hour breaches."""
    with scripted_source(Clock(int(time()) * SECOND), KEY) as started:
        started.otherwise = 9.0
        yield started


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_receiver() as started:
        yield started


@pytest.fixture
def sender(alerts: Database, script: Script, mailbox: Mailbox, tmp_path: Path) -> Iterator[Server]:
    made = replica(
        alerts,
        tmp_path,
        {"events": script.address},
        SMTP_ADDRESS=f"127.0.0.1:{mailbox.port}",
        SMTP_SENDER="brain@example.com",
        SMTP_TLS="off",
        DELIVERERS="1",  # so that it is known who is asked first
    )
    with running(made) as started:
        yield started


def start_again(sender: Server, alerts: Database) -> None:
    end_leases(alerts)
    sender.start()
    sender.wait_until(SERVING)


def test_mail_that_was_refused_for_now_is_taken_once(
    sender: Server, mailbox: Mailbox, tell: Callable[..., None]
) -> None:
    mailbox.cuts = 1
    mailbox.refusals.extend(["451 try later", "drop"])
    with asked(sender) as service:
        create(service, channels=[mail(*RECIPIENTS)])
        assert within(TELL_SECONDS, lambda: len(mailbox.mails) == len(RECIPIENTS))
        assert within(TELL_SECONDS, lambda: {each.status for each in deliveries(service)} == {DELIVERED})
        assert [each.attempts for each in deliveries(service)] == [2, 2, 2]
        known = {f"<brain-{each.delivery_id}@example.com>" for each in deliveries(service)}
    assert len(mailbox.cut_off) == 1
    attempted = mailbox.cut_off + mailbox.attempts
    assert Counter(attempted) == dict.fromkeys(known, 2)
    assert {str(each["Message-ID"]) for each in mailbox.mails} == known
    assert sorted(each["To"] for each in mailbox.mails) == list(RECIPIENTS)
    tell(attempts=len(attempted), mails=len(mailbox.mails))


def test_mail_outlives_who_sends_it(
    alerts: Database, sender: Server, mailbox: Mailbox, tell: Callable[..., None]
) -> None:
    mailbox.cuts, mailbox.in_the_middle = 1, sender.kill
    with asked(sender) as service:
        create(service, channels=[mail(RECIPIENTS[0])])
        assert within(TELL_SECONDS, lambda: not sender.is_running())
    mailbox.refusals.append("451 try later")
    start_again(sender, alerts)
    with asked(sender) as service:
        assert within(TELL_SECONDS, lambda: deliveries(service)[0].answer == "451 try later")
    sender.kill()
    assert not mailbox.mails
    mailbox.once_taken = sender.kill
    start_again(sender, alerts)
    assert within(TELL_SECONDS, lambda: not sender.is_running())
    mailbox.once_taken = lambda: None
    start_again(sender, alerts)
    with asked(sender) as service:
        assert within(TELL_SECONDS, lambda: deliveries(service)[0].status == DELIVERED)
        [delivery] = deliveries(service)
    attempted = mailbox.cut_off + mailbox.attempts
    assert attempted == 4 * [f"<brain-{delivery.delivery_id}@example.com>"]
    # It was taken from a sender that did not live to hear so, and once more.
    assert [each["Message-ID"] for each in mailbox.mails] == attempted[:2]
    tell(kills=sender.starts - 1, attempts=len(attempted), mails=len(mailbox.mails))
