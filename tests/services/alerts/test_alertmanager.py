"""Debian's Prometheus Alertmanager hears of alerts, and of their end."""

import json
import shutil
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2

from deploy import children
from tests.clock import Clock
from tests.services.alerts.asking import create, deliveries
from tests.services.alerts.conftest import HOUR, Service
from tests.services.alerts.receivers import free_port
from tests.services.alerts.scripted_source import Script

pytestmark = pytest.mark.peers

CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[str]:
    """The base URL of an Alertmanager, as Debian packages it."""
    program = shutil.which("prometheus-alertmanager")
    assert program, "apt-get install prometheus-alertmanager (.ci/run does)"
    configuration = tmp_path / "alertmanager.yml"
    configuration.write_text(CONFIGURATION)
    port = free_port()
    arguments = [
        program,
        f"--config.file={configuration}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    log = tmp_path / "alertmanager.log"
    process = children.start(arguments, log=log, environment={})
    try:
        wait_until_listening(port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def wait_until_listening(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        else:
            return


def active(base: str) -> list[dict[str, dict[str, str]]]:
    with urllib.request.urlopen(f"{base}/api/v2/alerts?active=true") as reply:
        found: list[dict[str, dict[str, str]]] = json.load(reply)
    return found


@pytest.fixture
def clock() -> Clock:
    """Three hours before the beginning of this one: Alertmanager lives now."""
    return Clock((int(time.time()) // 3600 - 3) * HOUR)


def test_it_hears_of_an_alert_while_it_fires_and_of_its_end(
    service: Service, clock: Clock, script: Script, alertmanager: str
) -> None:
    kind = definition_pb2.CHANNEL_KIND_ALERTMANAGER
    channel = definition_pb2.Channel(kind=kind, recipients=[alertmanager])
    create(service, name="Errors", channels=[channel], labels={"team": "shop"})
    script.otherwise = 9.0
    for _ in range(3):
        service.look()
        assert service.tell() == 1
        [heard] = active(alertmanager)
        clock.micros += HOUR
    assert heard["labels"] == {
        "alertname": "Errors",
        "alert_id": "errors",
        "metric": "event_count",
        "source": "events",
        "team": "shop",
    }
    assert heard["annotations"]["value"] == "9"
    kinds = [each.kind for each in deliveries(service)]
    refresh = alert_pb2.NOTICE_KIND_REFRESH
    assert kinds == [alert_pb2.NOTICE_KIND_FIRE, refresh, refresh]
    script.otherwise = 0.0
    service.look()
    assert service.tell() == 1
    assert active(alertmanager) == []
