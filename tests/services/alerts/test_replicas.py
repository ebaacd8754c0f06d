"""Several replicas share the work; one that sleeps, or is killed, spoils nothing."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from sqlalchemy import text

from tests.clock import Clock
from tests.services.alerts.asking import condition, create, definition, deliveries, get, reasons, webhook
from tests.services.alerts.conftest import HOUR, SECOND, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script


def lapse(service: Service, table: str) -> None:
    """Let every lease end, as if its holder had been killed and a minute had passed."""
    with service.engine.begin() as connection:
        connection.execute(text(f"UPDATE {table} SET lease_until_time = '-infinity'"))


def test_two_replicas_judge_each_window_once_and_tell_it_once(
    start_service: Callable[..., Service], clock: Clock, script: Script, receiver: Receiver
) -> None:
    replicas = [start_service(), start_service()]
    for number in range(40):
        create(replicas[0], f"errors-{number}", channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    with ThreadPoolExecutor(2) as pool:
        looked = list(pool.map(Service.look, replicas))
        attempts = list(pool.map(Service.tell, replicas))
    assert sum(looked) == 40
    assert sum(attempts) == 40
    assert Counter(each.json["commonLabels"]["alert_id"] for each in receiver.received) == Counter(
        f"errors-{number}" for number in range(40)
    )
    # The window before was closed when they were made, and nobody looked.
    assert {tuple(reasons(replicas[0], f"errors-{number}")) for number in range(40)} == {("SKIPPED", "FIRED")}


def test_a_replica_that_slept_writes_nothing(
    start_service: Callable[..., Service], clock: Clock, script: Script, receiver: Receiver
) -> None:
    sleeper, other = start_service(), start_service()
    create(sleeper, channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    script.answers.clear()
    with ThreadPoolExecutor(3) as pool:
        asleep = pool.submit(sleeper.look)
        while not pool.submit(_is_leased, other).result():
            pass
        lapse(other, "alert_states")
        awake = pool.submit(other.look)
        while not pool.submit(_was_leased_twice, other).result():
            pass
        script.answers.set()
        assert (asleep.result(), awake.result()) == (1, 1)
    assert reasons(other) == ["SKIPPED", "FIRED"]
    assert len(deliveries(other)) == 1
    fenced = [each.application.measures.fenced for each in (sleeper, other)]
    assert sum(counter._value.get() for counter in fenced) == 1  # noqa: SLF001 - it has no reader


def _fence(service: Service) -> int:
    with service.engine.begin() as connection:
        return int(connection.execute(text("SELECT fence FROM alert_states")).scalar_one())


def _is_leased(service: Service) -> bool:
    return _fence(service) == 1


def _was_leased_twice(service: Service) -> bool:
    return _fence(service) == 2


def test_what_is_edited_while_it_is_judged_begins_anew(
    service: Service, clock: Clock, script: Script
) -> None:
    create(service)
    script.otherwise = 9.0
    clock.micros = START + HOUR
    script.answers.clear()
    with ThreadPoolExecutor(2) as pool:
        looking = pool.submit(service.look)
        while not pool.submit(_is_leased, service).result():
            pass
        pausing = pool.submit(service.alerts.PauseAlert, pb.PauseAlertRequest(alert_id="errors"))
        pausing.result()
        script.answers.set()
        looking.result()
    assert (condition(service), reasons(service)) == ("OK", [])
    assert not get(service).state.HasField("next_look_time")


def test_a_delivery_in_flight_when_its_sender_dies_is_sent_again_under_its_id(
    start_service: Callable[..., Service],
    clock: Clock,
    script: Script,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dying, other = start_service(), start_service()
    create(dying, channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    dying.look()
    with monkeypatch.context() as killed:
        killed.setattr("services.alerts.store.outbox.settle", _die)
        with pytest.raises(SystemError):
            dying.tell()
    assert other.tell() == 0  # its lease lasts
    lapse(other, "outbox")
    assert other.tell() == 1
    first, second = receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert [each.attempts for each in deliveries(other)] == [1]


def _die(*_arguments: object) -> None:
    raise SystemError("killed")


def test_who_slept_longer_than_its_lease_does_not_send(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    seconds = iter([0.0, 26.0])
    [deliverer] = [each for each in service.application.deliverers if each.kind.name == "WEBHOOK"]
    object.__setattr__(deliverer, "monotonic", lambda: next(seconds))
    assert deliverer.step() == 0
    assert receiver.received == []
    assert deliveries(service)[0].status == alert_pb2.DELIVERY_STATUS_WAITING


def test_an_edit_ends_what_was_told_to_those_who_were_told(
    service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    create(service, channels=[webhook(f"{receiver.url}/old")])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    service.tell()
    changed = definition(channels=[webhook(f"{receiver.url}/new")], threshold=5.0)
    service.alerts.UpdateAlert(pb.UpdateAlertRequest(alert_id="errors", definition=changed))
    assert condition(service) == "OK"
    service.look()
    service.tell()
    told = [(each.path, each.json["status"]) for each in receiver.received]
    assert told == [("/old", "firing"), ("/old", "resolved"), ("/new", "firing")]
    # The same again changes nothing.
    service.alerts.UpdateAlert(pb.UpdateAlertRequest(alert_id="errors", definition=changed))
    assert condition(service) == "FIRING"


def test_a_deleted_alert_resolves_and_its_id_is_free(
    service: Service, clock: Clock, script: Script, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(service, channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    service.alerts.DeleteAlert(pb.DeleteAlertRequest(alert_id="errors"))
    with monkeypatch.context() as retried:
        retried.setattr("services.alerts.calls.alert_calls.is_retry", lambda _context: True)
        service.alerts.DeleteAlert(pb.DeleteAlertRequest(alert_id="errors"))
    assert not service.alerts.ListAlerts(pb.ListAlertsRequest()).alerts
    service.tell()
    assert [each.json["status"] for each in receiver.received] == ["firing", "resolved"]
    clock.micros += 10 * SECOND
    assert create(service).state.episode == 0
