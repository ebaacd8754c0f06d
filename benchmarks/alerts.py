"""Ten thousand alerts that come due at once, watching a real events service on the same machine."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy
from brain.alerts.v1 import definition_pb2
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text

from benchmarks import alert_delivery
from benchmarks.report import Line, milliseconds
from benchmarks.stack import KEY, ServiceProcess, Stack
from services.alerts import application
from services.alerts.application import Application
from services.alerts.config import AlertsSettings
from shared import migrations
from shared.database import create_engine
from shared.timestamps import from_micros

ALERTS = 10_000
BAR_SECONDS = 10.0
HOUR_MICROS = 3_600_000_000
_EVENTS_A_BATCH = 5_000
_TIMEOUT_SECONDS = 300.0

# Each watches one of :series events, which fire with their threshold below the one event there is.
_FILL = text("""
WITH made AS (
    INSERT INTO alerts (alert_id, definition, created_time, updated_time)
    SELECT 'alert-' || n, jsonb_set(jsonb_set(CAST(:definition AS jsonb), '{metric,labels,event}',
        to_jsonb('event-' || n % :series)), '{threshold}', to_jsonb(n % 2)), now(), now()
    FROM generate_series(0, :alerts - 1) n
    RETURNING alert_key)
INSERT INTO alert_states (alert_key, source, since_time, judged_until_time, due_time)
SELECT alert_key, 'events', now(), :hour, :hour FROM made
""")
_LEFT = text("SELECT count(*) FROM alert_states WHERE due_time <= now()")
_FIRING = text("SELECT count(*) FROM alert_states WHERE condition = 3")


def _now() -> int:
    return time.time_ns() // 1000


def run(stack: Stack) -> list[Line]:
    """Measure until the last alert is judged, which bounds the p99 of the lag from above."""
    lines = []
    for series in (500, ALERTS):
        for replicas in (1, 2):
            seconds = _judge(stack, series, replicas)
            lines.append(
                Line(
                    f"{ALERTS:,} alerts on {series:,} series, {replicas} replicas: until all are judged",
                    milliseconds(seconds),
                    bar=f"p99 ≤ {BAR_SECONDS:.0f} s",
                    is_met=seconds <= BAR_SECONDS,
                )
            )
    return [*lines, _deliver(stack)]


def _deliver(stack: Stack) -> Line:
    stack.create("alerted")
    try:
        with stack.service("alerted") as events, _database(stack) as (url, _):
            _track(events, 1, (_now() // HOUR_MICROS - 1) * HOUR_MICROS)
            running = _start(stack, events, url)
            try:
                return alert_delivery.measure(running, events.token)
            finally:
                running.stop()
    finally:
        stack.drop("alerted")


def _judge(stack: Stack, series: int, replicas: int) -> float:
    stack.create("alerted")
    try:
        with stack.service("alerted") as events:
            # An hour that is over: what is in it is final.
            hour = (_now() // HOUR_MICROS - 1) * HOUR_MICROS
            _track(events, series, hour)
            with _database(stack) as (url, engine):
                _fill(engine, series, hour)
                return _measure([_start(stack, events, url) for _ in range(replicas)], engine)
    finally:
        stack.drop("alerted")


def _measure(running: list[Application], engine: sqlalchemy.Engine) -> float:
    started = time.monotonic()
    try:
        for each in running:
            each.work()
        while True:
            with engine.begin() as connection:
                left = connection.execute(_LEFT).scalar_one()
                firing = connection.execute(_FIRING).scalar_one()
            if not left:
                break
            if time.monotonic() - started > _TIMEOUT_SECONDS:
                raise RuntimeError(f"{left} alerts are still due")
            time.sleep(0.05)
        seconds = time.monotonic() - started
    finally:
        for each in running:
            each.stop()
    if firing != ALERTS // 2:
        raise RuntimeError(f"{firing} of {ALERTS // 2} fire")
    return seconds


def _track(events: ServiceProcess, series: int, hour: int) -> None:
    with events.channel() as channel:
        stub = EventsServiceStub(channel)
        for first in range(0, series, _EVENTS_A_BATCH):
            batch = [
                events_pb2.Event(
                    event_id=f"e-{number}",
                    user_id="ann",
                    session_id="s",
                    event=f"event-{number}",
                    event_time=from_micros(hour + number),
                )
                for number in range(first, min(series, first + _EVENTS_A_BATCH))
            ]
            reply = stub.TrackEvents(events_pb2.TrackEventsRequest(events=batch), metadata=events.metadata)
            if reply.rejections:
                raise RuntimeError(str(reply.rejections[0]))


@contextmanager
def _database(stack: Stack) -> Iterator[tuple[str, sqlalchemy.Engine]]:
    name = "alerting"
    stack.postgres.create_database(name)
    stack.postgres.create_schema(name, "alerts")
    url = stack.postgres.url(name, "alerts")
    migrations.upgrade(url, "alerts", "services.alerts")
    engine = create_engine(url, schema="alerts", pool_size=1, application_name="benchmark")
    try:
        yield url, engine
    finally:
        engine.dispose()
        stack.drop(name)


def _fill(engine: sqlalchemy.Engine, series: int, hour: int) -> None:
    definition = definition_pb2.AlertDefinition(
        name="Measured",
        metric=definition_pb2.MetricReference(
            source="events", name="event_count", labels={"event": ""}, interval=common_pb2.INTERVAL_HOUR
        ),
        condition=definition_pb2.ALERT_CONDITION_GREATER_THAN,
        threshold=0.0,
    )
    written = json.loads(MessageToJson(definition, preserving_proto_field_name=True))
    parameters = {
        "definition": json.dumps(written),
        "series": series,
        "alerts": ALERTS,
        "hour": from_micros(hour).ToDatetime(),
    }
    with engine.begin() as connection:
        connection.execute(_FILL, parameters)


def _start(stack: Stack, events: ServiceProcess, url: str) -> Application:
    token = stack.directory / "alerts.token"
    token.write_text(events.token)
    settings = AlertsSettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "database_url": url,
            "metric_sources": {"events": events.address},
            "sources_token_file": token,
            "token_public_key_file": stack.directory / "public.pem",
            "encryption_keys": f"1:{KEY}",
            "blind_index_key": KEY,
            "allowed_networks": "127.0.0.0/8",
        }
    )
    return application.start(settings, _now)
