"""Each service's image: built by the Dockerfile's own steps, started, asked for its health, stopped."""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from deploy import keys
from deploy.postgres import EmbeddedPostgres
from shared.health import Health
from tests import databases
from tests.deploy.images import dockerfile
from tests.deploy.images.dockerfile import CHECKOUT, Stage
from tests.services.alerts.receivers import free_port
from tests.waiting import until

SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")
GATEWAY = "gateway"
PATIENCE_SECONDS = 60
SHARED = {"brain", "flagd", "shared"}
# How a machine reaches its package index is the machine's business.
PASSED_ON = re.compile("PIP_|SSL_CERT|https?_proxy|no_proxy", re.IGNORECASE)


def test_the_image_is_of_the_python_that_is_tested() -> None:
    [said] = [step.text for step in dockerfile.steps() if step.text.startswith("PYTHON=")]
    assert said == f"PYTHON={(CHECKOUT / '.python-version').read_text().strip()}"


def test_nothing_but_code_and_requirements_is_sent_to_the_engine() -> None:
    sent = set(dockerfile.context_files())
    assert {"shared/server.py", "requirements/events.txt", "services/__init__.py"} <= sent
    assert {path.partition("/")[0] for path in sent} == {
        "gateway", "protos", "requirements", "services", "shared",
    }  # fmt: skip
    assert not [path for path in sent if path.startswith("protos/") and not path.startswith("protos/gen/")]


# One in the normal suite; the rest take longer and differ in names alone.
@pytest.mark.parametrize(
    "service",
    [*(pytest.param(name, marks=pytest.mark.slow) for name in (*SERVICES[:4], GATEWAY)), SERVICES[4]],
)
def test_it_is_built_started_healthy_and_stopped(
    service: str, scratch_directory: Path, postgres: EmbeddedPostgres
) -> None:
    directory = scratch_directory / f"image-{service}"
    directory.mkdir()
    environment = clean_environment(directory)
    _build, image = dockerfile.build(service, directory, environment)
    assert_has_its_own_code_alone(image, service)
    assert int(image.said["USER"].partition(":")[0]) > 0
    health, start = health_command(image), image.said["CMD"]
    before = contents(image)
    with ExitStack() as started:
        told = started.enter_context(settings_of(service, directory, postgres))
        told[f"{service.upper()}_TRACES_ADDRESS"] = "127.0.0.1:4317"  # nobody: what traces must be there
        if service == GATEWAY:
            started.enter_context(events_service_of(told))
        else:
            migrated = image.run(f"python -m services.{service} migrate", environment | told)
            assert migrated.returncode == 0, migrated.stderr
        assert image.run(health, environment | told).returncode == 1
        process = started.enter_context(running(image, start, environment | told, directory / "log"))
        until(lambda: image.run(health, environment | told).returncode == 0, PATIENCE_SECONDS)
        process.send_signal(signal.SIGTERM)
        # uvicorn ends itself by the signal it was given once everything is done.
        ended = process.wait(PATIENCE_SECONDS)
        assert ended == (-signal.SIGTERM if service == GATEWAY else 0), (directory / "log").read_text()
    assert contents(image) == before  # nothing is written: its root file system may be read-only


def clean_environment(directory: Path) -> dict[str, str]:
    """An environment that knows the index of packages and nothing else of this one."""
    passed_on = {name: value for name, value in os.environ.items() if PASSED_ON.match(name)}
    path = f"{dockerfile.interpreter_directory(directory / 'bin')}:{os.defpath}"
    return {**passed_on, "PATH": path, "HOME": str(directory)}


def assert_has_its_own_code_alone(image: Stage, service: str) -> None:
    app = image.place("/app")
    own = {"gateway"} if service == GATEWAY else {"services"}
    assert {path.name for path in app.iterdir()} == SHARED | own
    if service != GATEWAY:
        assert {path.name for path in (app / "services").iterdir()} - {"__pycache__"} == {
            "__init__.py",
            service,
        }
    assert not list(image.place("/venv").glob("lib/*/site-packages/pip"))


def health_command(image: Stage) -> str:
    return image.said["HEALTHCHECK"].partition("CMD ")[2]


def contents(image: Stage) -> set[str]:
    return {str(path.relative_to(image.root)) for path in image.root.rglob("*")}


@contextmanager
def settings_of(service: str, directory: Path, postgres: EmbeddedPostgres) -> Iterator[dict[str, str]]:
    secrets = keys.ensure_secrets(directory, list(SERVICES), data_exists=False)
    keys.ensure_tokens(directory)
    own = {name: value for name, value in secrets.items() if name.startswith(service.upper())}
    told = {
        "ADDRESS": f"0.0.0.0:{free_port()}",
        "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "TOKEN_PUBLIC_KEY_FILE": str(directory / keys.PUBLIC_KEY),
    }
    if service == GATEWAY:
        told |= {
            "EVENTS_ADDRESS": f"127.0.0.1:{free_port()}",
            "INGEST_TOKEN": (directory / "ingest.token").read_text().strip(),
        }
        yield {f"GATEWAY_{name}": value for name, value in told.items()} | own
        return
    if service == "experiments":
        told["FLAGD_ADDRESS"] = f"127.0.0.1:{free_port()}"
    with databases.clone(postgres, "template1") as database:
        postgres.create_schema(database, service)
        told["DATABASE_URL"] = postgres.url(database, service)
        yield {f"{service.upper()}_{name}": value for name, value in told.items()} | own


@contextmanager
def events_service_of(told: dict[str, str]) -> Iterator[None]:
    """A server that says about events what the gateway asks before it calls itself healthy."""
    server = grpc.server(ThreadPoolExecutor(2))
    health = Health(["brain.events.v1.EventsService"], lambda: True)
    add_HealthServicer_to_server(health.servicer, server)
    server.add_insecure_port(told["GATEWAY_EVENTS_ADDRESS"])
    health.start()
    server.start()
    try:
        yield
    finally:
        health.stop()
        server.stop(0).wait()


@contextmanager
def running(
    image: Stage, command: str, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    variables = {name: image.command(value) for name, value in image.variables.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["/bin/sh", "-c", image.command(command)],
            cwd=image.place("."),
            env=environment | variables,
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
