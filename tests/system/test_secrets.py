"""Secrets, and people's data, are nowhere that operators, viewers or callers look."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from shared.healthcheck import says_serving
from tests.system import every_rpc, secret_life
from tests.system.launcher import eventually
from tests.system.planted import Secrets, planted, spellings
from tests.system.secret_refusals import ALERTS, EVENTS, GATEWAY, Refused, locked_out
from tests.system.secret_suite import (
    ANONYMOUS,
    EMAIL,
    PHONE,
    RUBBISH,
    SERVICES,
    USER,
    VALUE,
    WRONG_TOKEN,
    SecretSuite,
    secret_suite,
    told_at_start,
)


@pytest.fixture
def suite(scratch_directory: Path) -> Iterator[SecretSuite]:
    # No socket can have so long a path: PostgreSQL listens on TCP then, and asks for passwords.
    with secret_suite(scratch_directory / f"secrets-{'x' * 100}") as made:
        yield made


def test_secrets_and_people_are_in_no_log_metric_command_line_or_answer(suite: SecretSuite) -> None:
    answers = [secret_life.track(suite), secret_life.capture(suite)]
    told_to_admin = secret_life.tell(suite)
    shown = b"".join(secret_life.look(suite))
    addresses, people = recipients(), personal_data()
    assert suite.secrets.found_in(told_to_admin) == set()
    assert (suite.secrets | addresses).found_in(shown) == {"proof of a form"}  # their own
    answers += [*secret_life.send_rubbish(suite), *secret_life.send_rubbish_over_http(suite)]
    answers += secret_life.knock(suite)
    with database_away(suite), ThreadPoolExecutor(1) as beside:
        # The gateway tries again for seconds.
        refused = beside.submit(lambda: list(secret_life.send_rubbish_over_http(suite, 2)))
        answers += [*secret_life.send_rubbish(suite), *refused.result()]
    secret_life.erase(suite)
    locked_out(suite.directory, database_port(suite), suite.directory / "logs" / "locked out.log")
    places = {**written(suite), **told_to_strangers(suite)}
    assert all(places.values())
    assert {span.service for span in suite.collector.spans} == {*SERVICES, "gateway"}
    told = {**places, "answers": b"".join(answers)}
    control = {"control": places["events.log"] + suite.tokens["admin"].encode()}
    assert found(control, suite.secrets) == {"control": {"token admin"}}
    assert found(told, suite.secrets | addresses | people) == {}
    assert found(places, sent_by_strangers()) == {}


def found(places: dict[str, bytes], secrets: Secrets) -> dict[str, set[str]]:
    """What is found where."""
    return {place: what for place, text in places.items() if (what := secrets.found_in(text))}


def test_what_is_planted_is_found_however_it_is_spelled() -> None:
    secrets = Secrets()
    secrets.add("password", planted("password"))
    secrets.add("key", bytes(range(200, 232)))
    assert secrets.found_in(b"x" + planted("password").encode()[3:20]) == {"password"}
    for spelled in spellings(bytes(range(200, 232))):
        assert secrets.found_in(b"the key is " + spelled + b".") == {"key"}
    assert secrets.found_in(planted("another password").encode()) == set()


@pytest.mark.parametrize("refused", [ALERTS, GATEWAY, EVENTS], ids=lambda each: each.module)
def test_a_refusal_to_start_quotes_no_secret(refused: Refused) -> None:
    secrets = Secrets()
    for setting in refused.settings:
        secrets.add(setting, planted(setting))
    output = refused.output()
    assert [each for each in refused.complaints if each not in output] == []
    assert secrets.found_in(output.encode()) == set()


def personal_data() -> Secrets:
    people = Secrets()
    for name, data in {"user": USER, "mail": EMAIL, "anonymous": ANONYMOUS, "value": VALUE}.items():
        people.add(name, data)
    return people


def recipients() -> Secrets:
    addresses = Secrets()
    for number in range(1, 7):
        addresses.add(f"path {number}", planted(f"path {number}"))
        addresses.add(f"query {number}", planted(f"query {number}"))
    addresses.add("recipient", planted("recipient"))
    addresses.add("phone", PHONE)
    return addresses


def sent_by_strangers() -> Secrets:
    """What comes back to who sent it, perhaps, and goes nowhere else."""
    rubbish = Secrets()
    for name, data in {"rubbish": RUBBISH, "token": WRONG_TOKEN}.items():
        rubbish.add(name, data)
    for name in ("forged cookie", "wrong password", "key of the provider"):
        rubbish.add(name, planted(name))
    return rubbish


@contextmanager
def database_away(suite: SecretSuite) -> Iterator[None]:
    """Kill PostgreSQL, and keep who starts it again from doing so."""
    launcher = suite.launcher
    launcher.process.send_signal(signal.SIGSTOP)
    try:
        os.kill(launcher.pid_of("bin/postgres"), signal.SIGKILL)
        yield
    finally:  # or nobody could stop it
        launcher.process.send_signal(signal.SIGCONT)
    addresses = [suite.address(each) for each in SERVICES]
    eventually(lambda: all(map(says_serving, addresses)), launcher.said)


def written(suite: SecretSuite) -> dict[str, bytes]:
    """What operators find on the machine."""
    launcher = suite.launcher
    logs = {path.name: path.read_bytes() for path in (suite.directory / "logs").iterdir()}
    metrics = {
        f"metrics of {name}": httpx.get(f"http://127.0.0.1:{port}/metrics").content
        for name in (*SERVICES, "gateway")
        if (port := launcher.environment[f"BRAIN_{name.upper()}_METRICS_PORT"])
    }
    names = [Path(f"/proc/{pid}/comm").read_text() for pid in launcher.processes()]
    return {
        **logs,
        **metrics,
        "postgres.log": (suite.directory / "postgres.log").read_bytes(),
        "traces": b"".join(suite.collector.requests),
        "terminal": told_at_start(suite),
        "command lines": "\n".join([*launcher.processes().values(), *names]).encode(),
        "pg_stat_activity": activity(suite),
    }


def activity(suite: SecretSuite) -> bytes:
    """What PostgreSQL tells of its sessions."""
    password = (suite.directory / "postgres.password").read_text()
    with psycopg.connect(
        host="127.0.0.1", port=database_port(suite), user="brain", password=password, dbname="brain"
    ) as connection:
        return repr(connection.execute("SELECT * FROM pg_stat_activity").fetchall()).encode()


def database_port(suite: SecretSuite) -> str:
    return (suite.directory / "postgres" / "postmaster.pid").read_text().splitlines()[3]


def told_to_strangers(suite: SecretSuite) -> dict[str, bytes]:
    """What anybody is answered who holds no token."""
    health, reflected = [], []
    for service in SERVICES:
        with secret_life.opened(suite, service, None) as calls:
            stub = health_pb2_grpc.HealthStub(calls)
            health.append(repr(stub.Check(health_pb2.HealthCheckRequest())))  # type: ignore[attr-defined]  # stubs lack it
            database = ProtoReflectionDescriptorDatabase(calls)
            reflected += list(database.get_services())
            reflected += [
                repr(database.FindFileContainingSymbol(each)) for each in every_rpc.names_of(service)
            ]
    return {"health": "".join(health).encode(), "reflection": "".join(reflected).encode()}
