"""From events to a delivered webhook, against a real events service."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from tests.clock import Clock
from tests.services.alerts.asking import condition, create, deliveries, get, history, reasons, webhook
from tests.services.alerts.conftest import HOUR, SECOND, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.events.conftest import Service as EventsService


@pytest.fixture
def metric_sources(events: EventsService) -> dict[str, str]:
    return {"events": f"127.0.0.1:{events.application.server.port}"}


SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_a_breach_is_told_once_and_so_is_its_end(
    service: Service, clock: Clock, track: Callable[..., None], receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    assert service.look() == 1  # the hour before
    assert condition(service) == "OK"
    track("error", START + HOUR // 2, 3)
    clock.micros = START + HOUR
    assert service.look() == 1
    assert service.look() == 0
    assert condition(service) == "FIRING"
    assert service.tell() == 1
    clock.micros += HOUR
    service.look()
    assert service.tell() == 1
    assert [each.json["status"] for each in receiver.received] == ["firing", "resolved"]
    fired, resolved = (each.json["alerts"][0] for each in receiver.received)
    assert fired["labels"] == resolved["labels"]
    assert fired["fingerprint"] == resolved["fingerprint"]
    assert fired["startsAt"] == resolved["startsAt"] == "2011-11-11T09:00:00Z"
    assert resolved["endsAt"] == "2011-11-11T10:00:00Z"
    assert fired["annotations"]["value"] == "3"
    assert fired["annotations"]["window"] == "2011-11-11 08:00 to 2011-11-11 09:00 UTC"
    assert reasons(service) == ["CLEAR", "FIRED", "RESOLVED"]


def test_history_says_why(service: Service, clock: Clock, track: Callable[..., None]) -> None:
    create(service)
    track("error", START, 2)
    clock.micros = START + HOUR
    service.look()
    [_, entry] = history(service)
    assert (entry.value, entry.compared, entry.threshold, entry.sample_size) == (2, 2, 2, 2)
    assert entry.window.start_time.seconds * SECOND == START
    assert entry.window.end_time.seconds * SECOND == START + HOUR
    assert entry.condition == alert_pb2.CONDITION_STATE_OK


def test_webhooks_are_signed_as_standard_webhooks_say(
    start_service: Callable[..., Service], clock: Clock, track: Callable[..., None], receiver: Receiver
) -> None:
    service = start_service(webhook_secret=SECRET)
    create(service, channels=[webhook(receiver.url)])
    track("error", START, 3)
    clock.micros = START + HOUR
    service.look()
    receiver.answer(500)
    service.tell()
    clock.micros += 10 * SECOND
    service.tell()
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 10
    for each in (first, second):
        signed = f"{each.headers['webhook-id']}.{each.headers['webhook-timestamp']}.".encode() + each.body
        digest = hmac.new(bytes(range(32)), signed, hashlib.sha256).digest()
        assert each.headers["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_falls_are_compared_with_the_window_before(
    service: Service, clock: Clock, track: Callable[..., None]
) -> None:
    change: dict[str, Any] = {"condition": definition_pb2.ALERT_CONDITION_CHANGE_RATIO, "threshold": -0.4}
    create(service, **change)
    create(service, "two-back", **change, baseline_offset_intervals=2)
    for hour, count in enumerate((10, 7, 4)):
        track("error", START + hour * HOUR, count)
        clock.micros = START + (hour + 1) * HOUR
        service.look()
    judged = [each.compared for each in history(service)[-2:]]
    assert judged == [(7 - 10) / 10, (4 - 7) / 7]
    assert condition(service) == "FIRING"
    assert history(service, "two-back")[-1].compared == (4 - 10) / 10
    assert history(service, "two-back")[-1].baseline_value == 10


def test_what_nobody_looked_at_is_said_and_the_latest_window_judged(
    service: Service, clock: Clock, track: Callable[..., None]
) -> None:
    create(service)
    service.look()
    track("error", START + HOUR, 5)
    clock.micros = START + 5 * HOUR + 1
    service.look()
    assert reasons(service) == ["CLEAR", "SKIPPED", "CLEAR"]
    skipped, judged = history(service)[1:]
    assert skipped.detail == "4 windows"
    assert (skipped.window.start_time.seconds, skipped.window.end_time.seconds) == (
        START // SECOND,
        START // SECOND + 4 * 3600,
    )
    assert judged.window.start_time == skipped.window.end_time


def test_windows_wait_for_late_data(service: Service, clock: Clock, track: Callable[..., None]) -> None:
    create(service, grace_seconds=600)
    clock.micros = START + 600 * SECOND
    service.look()
    clock.micros = START + HOUR + 599 * SECOND
    assert service.look() == 0
    track("error", START, 3)
    clock.micros += SECOND
    service.look()
    assert condition(service) == "FIRING"


def test_a_paused_alert_resolves_and_a_resumed_one_looks_at_once(
    service: Service, clock: Clock, track: Callable[..., None], receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    track("error", START, 3)
    clock.micros = START + HOUR
    service.look()
    paused = service.alerts.PauseAlert(pb.PauseAlertRequest(alert_id="errors")).alert
    assert (paused.active, paused.state.HasField("next_look_time")) == (False, False)
    service.tell()
    assert [each.json["status"] for each in receiver.received] == ["firing", "resolved"]
    clock.micros += HOUR // 2
    assert service.look() == 0
    service.alerts.ResumeAlert(pb.ResumeAlertRequest(alert_id="errors"))
    assert service.look() == 1
    assert get(service).state.episode == 2
    assert deliveries(service)[-1].kind == alert_pb2.NOTICE_KIND_FIRE
