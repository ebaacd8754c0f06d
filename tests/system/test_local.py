"""`python -m deploy.local up` as a person runs it: started, used, killed in parts, stopped."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from deploy.keys import random_key
from shared.auth import Role, TokenVerifier
from shared.healthcheck import says_serving
from tests.deploy.watching import exposed, expressions
from tests.system.launcher import PATIENCE_SECONDS, Launcher, eventually, free_ports


@pytest.fixture
def directory(scratch_directory: Path) -> Iterator[Path]:
    directory = scratch_directory / "suite"
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def launcher(directory: Path) -> Iterator[Launcher]:
    """A suite that is up."""
    launcher = Launcher(directory, free_ports())
    launcher.wait_for("Analytics Brain is up")
    yield launcher
    if launcher.process.poll() is None:
        launcher.stop()
    eventually(lambda: not launcher.processes(), lambda: str(launcher.processes()))


@pytest.fixture(scope="module")
def lasting(scratch_directory: Path) -> Iterator[Launcher]:
    """A suite that is up, for tests that leave it so."""
    launcher = Launcher(scratch_directory / "lasting", free_ports())
    launcher.wait_for("Analytics Brain is up")
    yield launcher
    assert launcher.stop() == 0


def test_it_tells_addresses_and_tokens_that_work(lasting: Launcher) -> None:
    said = lasting.said()
    assert lasting.address in said
    eventually(lambda: says_serving(lasting.address), lasting.said)
    verifier = TokenVerifier((lasting.directory / "token_public_key.pem").read_bytes())
    ingest, admin = (
        verifier.verify(token, time.time()) for token in re.findall(r"^ +(eyJ\S+)$", said, re.MULTILINE)
    )
    assert ingest.roles == frozenset({Role.INGEST})
    assert admin.roles == frozenset({Role.ADMIN})


def test_the_commands_it_suggests_work_as_they_stand(lasting: Launcher) -> None:
    suggested = re.findall(r"^  (.*\.venv/bin/brain .*)$", lasting.said(), re.MULTILINE)
    assert len(suggested) == 2
    assert not any("--token" in command for command in suggested)  # everybody may read command lines
    for command in suggested:
        subprocess.run(command, shell=True, check=True, capture_output=True)


@pytest.mark.parametrize(("how", "times"), [(signal.SIGTERM, 1), (signal.SIGINT, 20)])
def test_a_stop_is_clean_however_often_it_is_asked_for(
    launcher: Launcher, how: signal.Signals, times: int
) -> None:
    assert len(launcher.processes()) > 1
    for _ in range(times):
        launcher.process.send_signal(how)
    assert launcher.process.wait(PATIENCE_SECONDS) == 0
    assert launcher.processes() == {}
    assert "database system is shut down" in (launcher.directory / "postgres.log").read_text()
    assert launcher.said().endswith("Stopping.\nStopped.\n")


def test_the_gateway_captures_with_the_write_key_and_answers_with_the_token(lasting: Launcher) -> None:
    said = lasting.said()
    assert f"{lasting.gateway_url}/admin/analytics" in said
    secrets = (lasting.directory / "secrets.env").read_text()
    [key] = re.findall("GATEWAY_WRITE_KEYS=local:([0-9a-f]+)", secrets)
    assert key in said
    message = {"userId": "grace", "event": "captured", "writeKey": key}
    assert httpx.post(f"{lasting.gateway_url}/v1/track", json=message).json() == {"success": True}
    token = (lasting.directory / "admin.token").read_text().strip()
    answer = httpx.get(
        f"{lasting.gateway_url}/api/analytics/events",
        params={"userId": "grace"},
        headers={"authorization": f"Bearer {token}"},
    )
    assert [event["event"] for event in answer.json()["events"]] == ["captured"]


def test_ctrl_c_while_starting_stops_what_was_started(directory: Path) -> None:
    launcher = Launcher(directory, free_ports())
    eventually((directory / "postgres").exists, launcher.said)
    assert launcher.stop() == 0
    assert launcher.processes() == {}
    assert "Traceback" not in launcher.said()


def test_a_second_start_has_the_same_tokens_and_secrets(launcher: Launcher) -> None:
    kept = {name: (launcher.directory / name).read_text() for name in ("admin.token", "secrets.env")}
    launcher.stop()
    second = Launcher(launcher.directory, free_ports())
    second.wait_for(kept["admin.token"].strip())
    assert {name: (launcher.directory / name).read_text() for name in kept} == kept
    second.stop()


def test_a_second_suite_in_the_same_directory_is_refused(lasting: Launcher) -> None:
    before = lasting.processes()
    second = Launcher(lasting.directory, free_ports(), output="second.output")
    assert second.process.wait(PATIENCE_SECONDS) == 1
    assert f"already runs, started by process {lasting.process.pid}" in second.said()
    assert before.keys() & lasting.processes().keys() >= {lasting.pid_of("services.events")}


def test_a_taken_port_is_told_before_anything_is_left_running(directory: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        launcher = Launcher(directory, [taken.getsockname()[1], *free_ports()[1:]])
        assert launcher.process.wait(PATIENCE_SECONDS) == 1
    assert "BRAIN_EVENTS_PORT chooses another port" in launcher.said()
    assert "Traceback" not in launcher.said()
    assert launcher.processes() == {}


def test_a_failed_demo_stops_the_suite(directory: Path) -> None:
    directory.mkdir()
    (directory / "demo_shift.json").write_text("{broken")
    launcher = Launcher(directory, free_ports(), command="demo")
    assert launcher.process.wait(PATIENCE_SECONDS) == 1
    assert "The demo failed. Expecting property name" in launcher.said()
    assert launcher.said().endswith("The demo failed, so the suite was stopped.\n")
    assert "Traceback" not in launcher.said()
    assert launcher.processes() == {}


def test_a_died_service_is_started_again_and_told(lasting: Launcher) -> None:
    os.kill(lasting.pid_of("services.funnels"), signal.SIGKILL)
    lasting.wait_for("funnels was started again")
    assert "funnels ended by SIGKILL" in lasting.said()
    eventually(lambda: says_serving(lasting.address_of("funnels")), lasting.said)


def test_a_restart_changes_every_process_but_postgresql(lasting: Launcher) -> None:
    before = lasting.processes()
    kept = lasting.pid_of("bin/postgres")
    restarted = lasting.restart()
    assert (restarted.returncode, restarted.stderr) == (0, "")
    assert lasting.pid_of("bin/postgres") == kept
    programs = {pid for pid, line in lasting.processes().items() if " -m " in line}
    assert len(programs) == 6
    assert not programs & before.keys()
    assert says_serving(lasting.address)


def test_a_restart_brings_the_keys_that_are_in_the_file_by_then(lasting: Launcher) -> None:
    file = lasting.directory / "secrets.env"
    file.write_text(re.sub("(FUNNELS_ENCRYPTION_KEYS)=(.*)", rf"\1=2:{random_key()},\2", file.read_text()))
    [told] = re.findall("FUNNELS_ENCRYPTION_KEYS=.*", file.read_text())
    assert lasting.restart().returncode == 0
    environment = Path(f"/proc/{lasting.pid_of('services.funnels')}/environ").read_bytes()
    assert told.encode() in environment.split(b"\0")


def test_a_restart_of_nothing_is_refused(directory: Path) -> None:
    launcher = Launcher(directory, free_ports(), command="restart")
    assert launcher.process.wait(PATIENCE_SECONDS) == 1
    assert f"No suite runs in {directory}: `make up` starts one." in launcher.said()
    directory.mkdir()


def test_a_died_postgresql_is_started_again_and_told(lasting: Launcher) -> None:
    os.kill(lasting.pid_of("bin/postgres"), signal.SIGKILL)
    lasting.wait_for("PostgreSQL was started again")
    assert "PostgreSQL has died" in lasting.said()
    eventually(lambda: says_serving(lasting.address), lasting.said)


def test_a_killed_launcher_leaves_no_process(launcher: Launcher) -> None:
    launcher.process.kill()
    launcher.process.wait()
    eventually(lambda: not launcher.processes(), lambda: str(launcher.processes()))


def test_rules_and_dashboards_name_what_is_exposed(lasting: Launcher) -> None:
    names = exposed.scrape(lasting.environment)
    for expression in expressions.expressions():
        for each in expressions.asked(expression):
            if ":" in each.metric or each.metric in expressions.OWN_METRICS:
                continue
            assert each.metric in names, expression
            assert each.labels <= names[each.metric] | expressions.OWN_LABELS, expression
