"""A watched service is down, slow, late or without data: the condition stays, and people are told once."""

from collections.abc import Callable

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from shared.errors import NotFound, ServiceError, Unavailable
from tests.clock import Clock
from tests.services.alerts.asking import condition, create, get, history, kinds, reasons, webhook
from tests.services.alerts.conftest import HOUR, SECOND, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script

AWAY = Unavailable("the database is away", "DATABASE_UNAVAILABLE")
GONE = NotFound("there is no metric 'event_count' here", "METRIC_UNKNOWN")


def fired(service: Service, clock: Clock, script: Script, receiver: Receiver) -> None:
    """Has an alert fire for the hour from START on."""
    create(service, channels=[webhook(receiver.url)])
    service.look()
    script.values[START] = 9.0
    clock.micros = START + HOUR
    service.look()
    assert condition(service) == "FIRING"


@pytest.mark.parametrize("error", [AWAY, GONE])
def test_an_error_leaves_the_condition_and_is_told_once(
    error: ServiceError, service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    fired(service, clock, script, receiver)
    script.fails_with = error
    clock.micros += HOUR
    for _ in range(5):
        assert service.look() == 1
        clock.micros = get(service).state.next_look_time.ToMicroseconds()
    state = get(service).state
    assert (condition(service), state.health) == ("FIRING", alert_pb2.HEALTH_STATE_ERROR)
    assert error.message in state.latest.detail
    assert kinds(service) == ["FIRE", "ERROR"]
    script.fails_with = None
    service.look()
    assert kinds(service) == ["FIRE", "ERROR", "RESOLVE"]
    assert reasons(service) == ["CLEAR", "FIRED", "ERROR", "RESOLVED"]
    assert get(service).state.health == alert_pb2.HEALTH_STATE_OK


@pytest.mark.parametrize("slow", [True, False], ids=["slow", "down"])
def test_who_does_not_answer_ends_no_episode(
    start_service: Callable[..., Service], clock: Clock, script: Script, receiver: Receiver, *, slow: bool
) -> None:
    fired(start_service(), clock, script, receiver)
    script.otherwise = 0.0  # what would end it
    if slow:
        service = start_service(poll_seconds=0.2)
        script.answers.clear()
    else:
        service = start_service(poll_seconds=0.3, metric_sources={"events": "127.0.0.1:1"})
    clock.micros += HOUR
    for _ in range(3):
        assert service.look() == 1
        clock.micros = get(service).state.next_look_time.ToMicroseconds()
    assert condition(service) == "FIRING"
    assert kinds(service) == ["FIRE", "ERROR"]
    script.answers.set()
    again = start_service()
    again.look()
    assert kinds(again) == ["FIRE", "ERROR", "RESOLVE"]


def test_attempts_become_rarer_up_to_five_minutes(service: Service, clock: Clock, script: Script) -> None:
    create(service)
    script.fails_with = AWAY
    waits = []
    for _ in range(8):
        service.look()
        waits.append((get(service).state.next_look_time.ToMicroseconds() - clock.micros) // SECOND)
        clock.micros += waits[-1] * SECOND
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300]


def test_a_call_that_takes_too_long_is_an_error(
    start_service: Callable[..., Service], clock: Clock, script: Script
) -> None:
    service = start_service(poll_seconds=0.2)
    create(service)
    script.answers.clear()
    service.look()
    assert "DEADLINE_EXCEEDED" in get(service).state.latest.detail
    assert condition(service) == "OK"


def test_a_service_that_is_down_is_an_error(
    start_service: Callable[..., Service], clock: Clock, script: Script
) -> None:
    create(start_service())
    service = start_service(metric_sources={"events": "127.0.0.1:1"}, poll_seconds=0.3)
    service.look()
    assert get(service).state.health == alert_pb2.HEALTH_STATE_ERROR


def test_a_source_that_is_configured_no_more_is_an_error(start_service: Callable[..., Service]) -> None:
    create(start_service())
    service = start_service(metric_sources={})
    service.look()
    assert "ALERTS_METRIC_SOURCES" in get(service).state.latest.detail


def test_missing_data_is_told_once_and_moves_nothing(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    fired(service, clock, script, receiver)
    script.otherwise = None
    for _ in range(3):
        clock.micros += HOUR
        service.look()
    assert condition(service) == "FIRING"
    assert get(service).state.health == alert_pb2.HEALTH_STATE_NO_DATA
    assert kinds(service) == ["FIRE", "NO_DATA"]


def test_too_few_observations_are_not_judged(service: Service, clock: Clock, script: Script) -> None:
    script.sample, script.otherwise = 9, 50.0
    create(service, min_sample=10)
    service.look()
    assert (condition(service), reasons(service)) == ("OK", ["TOO_FEW"])
    script.sample = 10
    clock.micros += HOUR
    service.look()
    assert condition(service) == "FIRING"


def test_a_window_that_its_metric_has_not_finished_is_waited_for(
    service: Service, clock: Clock, script: Script
) -> None:
    script.values[START] = 9.0
    script.final_after_micros = 30 * 60 * SECOND
    create(service)
    clock.micros = START + HOUR
    service.look()
    assert history(service)[-1].window.start_time.seconds * SECOND < START
    clock.micros = START + HOUR + 30 * 60 * SECOND
    service.look()
    assert condition(service) == "FIRING"
    assert history(service)[-1].window.start_time.seconds * SECOND == START


def test_series_that_alerts_share_are_read_once(service: Service, clock: Clock, script: Script) -> None:
    for number in range(7):
        create(service, f"errors-{number}", threshold=float(number))
    create(service, "another", time_zone="Asia/Kolkata")
    script.queries.clear()
    assert service.look() == 8
    assert len(script.queries) == 2


def test_a_clock_that_jumps_skips_no_window_and_judges_none_twice(
    service: Service, clock: Clock, script: Script
) -> None:
    create(service)
    for hours, ahead in enumerate((0, 2, 0, -2, 0, 0, 2, 0), start=1):
        script.clock = Clock(START + hours * HOUR)
        clock.micros = START + (hours + ahead) * HOUR
        service.look()
        clock.micros += 600 * SECOND
        service.look()
    starts = [each.window.start_time.seconds for each in history(service) if each.HasField("compared")]
    assert starts == sorted(set(starts))
    skipped = [each.window for each in history(service) if each.reason == alert_pb2.TRANSITION_REASON_SKIPPED]
    covered = len(starts) + sum((each.end_time.seconds - each.start_time.seconds) // 3600 for each in skipped)
    assert covered == (starts[-1] - starts[0]) // 3600 + 1 + (starts[0] - (START // SECOND - 3600)) // 3600


def test_what_is_outside_the_forecast_is_asked_of_forecasting(
    start_service: Callable[..., Service], clock: Clock, script: Script
) -> None:
    service = start_service(metric_sources={"events": script.address, "forecasting": script.address})
    outside = definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST
    create(service, condition=outside, threshold=4.0, recovery_threshold=3.0)
    conditions = []
    for hour, score in enumerate((3.9, -4.1, -3.5, 2.9)):
        script.values[START + hour * HOUR] = score
        clock.micros = START + (hour + 1) * HOUR
        service.look()
        conditions.append(condition(service))
    assert conditions == ["OK", "FIRING", "FIRING", "OK"]
    asked = script.queries[-1]
    assert asked.name == "anomaly_score"
    assert dict(asked.labels) == {"source": "events", "name": "event_count", "event": "error"}


def test_pages_of_history_are_the_whole(service: Service, clock: Clock, script: Script) -> None:
    create(service)
    for hour in range(5):
        script.values[START + hour * HOUR] = float(hour % 2 * 9)
        clock.micros = START + (hour + 1) * HOUR
        service.look()
    request = pb.ListAlertHistoryRequest(alert_id="errors", page_size=2)
    found: list[alert_pb2.HistoryEntry] = []
    while True:
        reply = service.alerts.ListAlertHistory(request)
        found += reply.entries
        request.page_token = reply.next_page_token
        if not request.page_token:
            break
    assert found == history(service)[::-1]
    names = alert_pb2.TransitionReason.Name
    changes = [names(each.reason)[18:] for each in history(service, changes_only=True)]
    assert changes == ["FIRED", "RESOLVED", "FIRED", "RESOLVED"]
