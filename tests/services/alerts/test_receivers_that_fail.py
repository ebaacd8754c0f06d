"""What receivers do wrong: refusals, 429, drops, redirects. Nothing is lost and nobody is stormed."""

from collections.abc import Callable, Iterator

import pytest
from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from tests.clock import Clock
from tests.services.alerts.asking import create, deliveries, mail, webhook
from tests.services.alerts.conftest import HOUR, SECOND, Service
from tests.services.alerts.receivers import Mailbox, Receiver, mail_receiver
from tests.services.alerts.scripted_source import Script

WAITING, DELIVERED, FAILED = (
    alert_pb2.DELIVERY_STATUS_WAITING,
    alert_pb2.DELIVERY_STATUS_DELIVERED,
    alert_pb2.DELIVERY_STATUS_FAILED,
)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with mail_receiver() as started:
        yield started


@pytest.fixture
def fire(clock: Clock, script: Script) -> Callable[[Service], None]:
    """Lets an hour with three errors pass."""

    def run(service: Service) -> None:
        script.values[clock.micros] = 3.0
        clock.micros += HOUR
        service.look()

    return run


def test_attempts_back_off_and_the_receiver_decides_where_it_says_when(
    service: Service, clock: Clock, receiver: Receiver, fire: Callable[[Service], None]
) -> None:
    create(service, channels=[webhook(receiver.url)])
    receiver.answer(500, 503)
    receiver.answer(429, Retry_After="120")
    fire(service)
    service.tell()
    waits = []
    for _ in range(3):
        [delivery] = deliveries(service)
        wait = delivery.next_attempt_time.ToMicroseconds() - clock.micros
        waits.append(wait / SECOND)
        clock.micros += wait - 1
        assert service.tell() == 0
        clock.micros += 1
        assert service.tell() == 1
    assert 4 <= waits[0] <= 5
    assert 8 <= waits[1] <= 10
    assert waits[2] == 120
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.attempts, delivery.answer) == (DELIVERED, 4, "200 told 200")
    assert service.tell() == 0
    ids = {each.headers["webhook-id"] for each in receiver.received}
    assert len(ids) == 1


def test_a_receiver_that_wants_to_be_asked_again_at_once_is_asked_once_a_minute(
    service: Service, clock: Clock, receiver: Receiver, fire: Callable[[Service], None]
) -> None:
    create(service, channels=[webhook(receiver.url)])
    for _ in range(100):
        receiver.answer(503, Retry_After="0")
    fire(service)
    attempts = 0
    for _ in range(120):
        attempts += service.tell()
        clock.micros += 5 * SECOND
    # After 0, 5, 15, 35 s and from there on each minute of the ten, each wait up to a fifth less.
    assert 12 <= attempts <= 16


def test_a_failing_receiver_is_asked_by_one_delivery_not_by_all(
    service: Service, clock: Clock, receiver: Receiver, fire: Callable[[Service], None]
) -> None:
    for number in range(10):
        create(service, f"errors-{number}", channels=[webhook(receiver.url)])
    fire(service)
    receiver.answer(*[500] * 3)
    for _ in range(3):
        assert service.tell() == 1
        clock.micros += 30 * SECOND
    assert service.tell() == 10
    assert {each.status for each in deliveries(service)} == {DELIVERED}
    assert len(receiver.received) == 13


def test_who_asks_for_time_is_left_alone_by_what_is_decided_later(
    service: Service, clock: Clock, receiver: Receiver, fire: Callable[[Service], None]
) -> None:
    create(service, "first", channels=[webhook(receiver.url)])
    receiver.answer(429, Retry_After=str(2 * 3600))
    fire(service)
    assert service.tell() == 1
    create(service, "second", channels=[webhook(receiver.url)])
    fire(service)
    assert service.tell() == 0
    clock.micros += HOUR
    assert service.tell() == 2
    assert {each.status for each in deliveries(service)} == {DELIVERED}


@pytest.mark.parametrize("status", [301, 302, 400, 404, 410])
def test_what_is_refused_for_good_is_not_tried_again(
    status: int, service: Service, clock: Clock, receiver: Receiver, fire: Callable[[Service], None]
) -> None:
    create(service, channels=[webhook(receiver.url)])
    receiver.answer(status, Location=f"{receiver.url}/elsewhere")
    fire(service)
    service.tell()
    clock.micros += HOUR
    assert service.tell() == 0
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.answer) == (FAILED, f"{status} told {status}")
    assert [each.path for each in receiver.received] == ["/"]  # redirects lead nowhere


def test_who_accepts_nothing_is_given_up_after_days(
    start_service: Callable[..., Service],
    clock: Clock,
    receiver: Receiver,
    fire: Callable[[Service], None],
) -> None:
    service = start_service(give_up_hours=1)
    create(service, channels=[webhook(receiver.url)])
    receiver.answer(*[500] * 100)
    fire(service)
    service.tell()
    began = clock.micros
    while deliveries(service)[0].status == WAITING:
        clock.micros = deliveries(service)[0].next_attempt_time.ToMicroseconds()
        assert service.tell() == 1
    assert deliveries(service)[0].status == FAILED
    assert HOUR - 900 * SECOND <= clock.micros - began <= HOUR


def test_an_end_never_overtakes_its_beginning(
    service: Service, clock: Clock, receiver: Receiver, fire: Callable[[Service], None]
) -> None:
    create(service, channels=[webhook(receiver.url)])
    receiver.answer(500)
    fire(service)
    service.tell()
    clock.micros += HOUR
    service.look()
    service.tell()
    assert [each.json["status"] for each in receiver.received] == ["firing", "firing", "resolved"]


def test_mail_is_tried_again_with_the_same_id(
    start_service: Callable[..., Service],
    clock: Clock,
    mailbox: Mailbox,
    fire: Callable[[Service], None],
) -> None:
    service = start_service(
        smtp_address=f"127.0.0.1:{mailbox.port}", smtp_sender="brain@example.com", smtp_tls="off"
    )
    create(service, name="Errors & <more>", channels=[mail("ann@example.com")], message="see $metric: $value")
    mailbox.refusals.extend(["451 try later", "drop"])
    fire(service)
    answers = []
    for _ in range(3):
        assert service.tell() == 1
        answers.append(deliveries(service)[0].answer)
        clock.micros += 60 * SECOND
    assert answers == ["451 try later", "SMTPServerDisconnected: Connection unexpectedly closed", "250 taken"]
    assert len(mailbox.attempts) == 3
    assert len(set(mailbox.attempts)) == 1
    [mail_taken] = mailbox.mails
    assert mail_taken["Subject"] == "FIRING: Errors & <more>"
    assert mail_taken["To"] == "ann@example.com"
    plain, html = (part.get_content() for part in mail_taken.iter_parts())
    assert "see event_count (event=error): 3" in plain
    assert "FIRING: Errors &amp; &lt;more&gt;" in html


def test_mail_that_was_cut_off_midway_arrives_once(
    start_service: Callable[..., Service],
    clock: Clock,
    mailbox: Mailbox,
    fire: Callable[[Service], None],
) -> None:
    service = start_service(
        smtp_address=f"127.0.0.1:{mailbox.port}", smtp_sender="brain@example.com", smtp_tls="off"
    )
    create(service, channels=[mail("ann@example.com")])
    mailbox.cuts = 2
    fire(service)
    for _ in range(3):
        assert service.tell() == 1
        clock.micros += 60 * SECOND
    [delivery] = deliveries(service)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 3)
    assert mailbox.attempts == [f"<brain-{delivery.delivery_id}@example.com>"]


def test_mail_refused_for_good_is_not_tried_again(
    start_service: Callable[..., Service], mailbox: Mailbox, fire: Callable[[Service], None]
) -> None:
    service = start_service(
        smtp_address=f"127.0.0.1:{mailbox.port}", smtp_sender="brain@example.com", smtp_tls="off"
    )
    create(service, channels=[mail("ann@example.com")])
    mailbox.refusals.append("550 nobody here")
    fire(service)
    service.tell()
    assert [(each.status, each.answer) for each in deliveries(service)] == [(FAILED, "550 nobody here")]


def test_a_rate_queues_and_drops_nothing(
    start_service: Callable[..., Service],
    clock: Clock,
    receiver: Receiver,
    fire: Callable[[Service], None],
) -> None:
    service = start_service(webhook_per_minute=30)
    for number in range(8):
        create(service, f"errors-{number}", channels=[webhook(receiver.url)])
    fire(service)
    assert service.tell() == 3  # a tenth of a minute's worth at once
    assert [each.status for each in deliveries(service)].count(WAITING) == 5


def test_a_test_shows_what_each_receiver_answers(service: Service, receiver: Receiver) -> None:
    create(service, channels=[webhook(f"{receiver.url}/a", f"{receiver.url}/b", "http://127.0.0.1:1/")])
    receiver.answer(200, 403)
    results = service.alerts.TestAlert(pb.TestAlertRequest(alert_id="errors")).results
    assert sorted(each.answer for each in results[:2]) == ["200 told 200", "403 told 403"]
    assert [each.delivered for each in results].count(True) == 1
    assert "Connection refused" in results[2].answer
    assert receiver.received[0].json["alerts"][0]["annotations"]["summary"] == "TEST: Errors"
    assert deliveries(service) == []
