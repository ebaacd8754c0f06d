"""What people change while their alerts are being looked at holds at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from sqlalchemy import text

from services.alerts import worker
from services.alerts.store import states
from shared.timestamps import from_micros
from tests.clock import Clock
from tests.services.alerts.asking import create, webhook
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script
from tests.waiting import until

EDITOR = 7
# Whoever reads a row that is not the editor waits for it, after the statement began.
_PAUSE = f"""
CREATE FUNCTION pause() RETURNS bool LANGUAGE plpgsql VOLATILE AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared({EDITOR}); RETURN true; END';
ALTER TABLE alert_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE alert_states FORCE ROW LEVEL SECURITY;
CREATE POLICY pausing ON alert_states USING (pause());
"""
_IS_PAUSED = text("SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)")


def test_who_is_late_for_an_edit_sees_its_definition(service: Service, clock: Clock) -> None:
    create(service)
    clock.micros = START + HOUR
    with service.engine.begin() as connection:
        connection.exec_driver_sql(_PAUSE)

    def claim() -> list[int]:
        with service.engine.begin() as connection:
            return [each.version for each in states.claim(connection, "events", [], clock.micros, 10)]

    with ThreadPoolExecutor(1) as pool, service.engine.begin() as watching:
        with service.engine.begin() as editing:
            editing.execute(text(f"SELECT pg_advisory_xact_lock({EDITOR})"))
            late = pool.submit(claim)
            until(lambda: watching.execute(_IS_PAUSED).scalar_one())
            editing.execute(text("UPDATE alerts SET version = version + 1"))
            editing.execute(text("UPDATE alert_states SET fence = fence + 1"))
            [edited] = editing.execute(text("SELECT version FROM alerts")).scalars()
        assert late.result(30) == [edited]


def test_a_silence_holds_those_that_are_looked_at_after_it_began(
    start_service: Callable[..., Service],
    clock: Clock,
    script: Script,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "SERIES_A_CALL", 1)
    service = start_service()
    for number, zone in enumerate(("UTC", "Asia/Kolkata")):
        create(service, f"errors-{number}", time_zone=zone, channels=[webhook(receiver.url)])
    script.otherwise = 9.0
    clock.micros = START + HOUR
    [judging] = [each for each in service.application.workers if each.source is not None]
    asked: list[float] = []

    def silence_before_the_second_call() -> float:
        asked.append(0.0)
        if len(asked) == 3:  # the first is about the lease, the second is before the first call
            now, later = from_micros(clock.micros), from_micros(clock.micros + HOUR)
            made = alert_pb2.Silence(silence_id="night", start_time=now, end_time=later)
            service.alerts.CreateSilence(pb.CreateSilenceRequest(silence=made))
        return 0.0

    object.__setattr__(judging, "monotonic", silence_before_the_second_call)
    assert judging.step() == 2
    assert service.tell() == 1
