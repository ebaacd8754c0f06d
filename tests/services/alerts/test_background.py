"""What runs beside the calls: looking and telling by threads, measures, letting go of what is old."""

import urllib.request
from collections.abc import Callable
from threading import Event

from sqlalchemy import text

from services.alerts.pruning import count, prune
from shared.calendar import HOUR_MICROS
from tests.clock import Clock
from tests.services.alerts.asking import create, deliveries, history, reasons, webhook
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script

DAY = 24 * HOUR_MICROS


def test_a_closed_window_is_told_by_itself(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.application.work()
    waiting = Event()
    for _ in range(1_000):
        if receiver.received:
            break
        waiting.wait(0.02)
    assert [each.json["status"] for each in receiver.received] == ["firing"]


def test_prometheus_sees_what_was_looked_at_and_told(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    create(service, "others", channels=[webhook(f"{receiver.url}/others")])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    receiver.answer(500)
    service.tell()
    clock.micros += 3 * 1_000_000
    count(service.engine, clock.micros, service.application.measures)
    port = service.application.server.metrics_port
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as reply:
        scraped = reply.read().decode()
    for line in (
        'alerts_notifications_total{channel="webhook",result="delivered"} 1.0',
        'alerts_notifications_total{channel="webhook",result="retried"} 1.0',
        'alerts_outbox_depth{channel="webhook"} 1.0',
        'alerts_outbox_age_seconds{channel="webhook"} 3.0',
        'alerts_looks_total{reason="fired"} 2.0',
        "alerts_evaluation_lag_seconds_count 2.0",
    ):
        assert line in scraped, line


def test_what_is_old_goes_and_what_waits_to_be_told_stays(
    start_service: Callable[..., Service], clock: Clock, script: Script, receiver: Receiver
) -> None:
    service = start_service(give_up_hours=10**6)
    create(service, channels=[webhook(receiver.url)])
    create(service, "gone", channels=[webhook(f"{receiver.url}/gone")])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    receiver.answer(200, 500)
    service.tell()
    with service.engine.begin() as connection:
        connection.execute(text("UPDATE alerts SET deleted_time = updated_time WHERE alert_id = 'gone'"))
    prune(service.engine, clock.micros + 89 * DAY, 90)
    assert reasons(service) == ["SKIPPED", "FIRED"]
    assert len(deliveries(service)) == 2
    prune(service.engine, clock.micros + 91 * DAY, 90)
    assert history(service) == []
    [waiting] = deliveries(service)
    clock.micros = waiting.next_attempt_time.ToMicroseconds()
    assert service.tell() == 1
    prune(service.engine, clock.micros + 91 * DAY, 90)
    with service.engine.begin() as connection:
        left = connection.execute(text("SELECT count(*) FROM alerts")).scalar_one()
        known = connection.execute(text("SELECT count(*) FROM recipients")).scalar_one()
    assert (left, known) == (1, 1)
