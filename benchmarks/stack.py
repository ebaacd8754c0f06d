"""What is measured: PostgreSQL as `make up` runs it, and services as processes of their own."""

import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

import deploy.postgres
from deploy import children
from deploy.postgres import EmbeddedPostgres
from shared import migrations
from shared.auth import Role, generate_keys, mint_token
from shared.healthcheck import says_serving

DIRECTORY = Path(__file__).parents[1] / ".brain" / "benchmarks"
KEY = base64.b64encode(bytes(range(32))).decode()
START_SECONDS = 60
Metadata = tuple[tuple[str, str], ...]
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", 64 << 20), ("grpc.max_send_message_length", 64 << 20))


@dataclass(frozen=True)
class ServiceProcess:
    """A running service."""

    pid: int
    address: str
    token: str

    @property
    def metadata(self) -> Metadata:
        """What a call must carry."""
        return (("authorization", f"Bearer {self.token}"),)

    def channel(self) -> grpc.Channel:
        """Return a channel without anything of ours in it, so that the caller costs little."""
        return grpc.insecure_channel(self.address, options=_CHANNEL_OPTIONS)


@dataclass(frozen=True)
class Stack:
    """A durable PostgreSQL and the keys of its services."""

    directory: Path
    postgres: EmbeddedPostgres
    token: str

    def create(self, database: str) -> None:
        """Create a database with the events service's schema."""
        self.postgres.create_database(database)
        self.postgres.create_schema(database, "events")
        migrations.upgrade(self.url(database), "events", "services.events")

    def url(self, database: str) -> str:
        """Return where the events service finds its database."""
        return self.postgres.url(database, "events")

    def settle(self, database: str) -> None:
        """Do now what autovacuum and the checkpointer would do while we measure."""
        with self.postgres.connect(database) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def drop(self, database: str) -> None:
        """Drop a database."""
        with self.postgres.connect() as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())

    @contextmanager
    def service(self, database: str, **settings: str) -> Iterator[ServiceProcess]:
        """Run an events service on a database; settings are given by their names without EVENTS_."""
        with self._process("events", database, settings) as process:
            yield process

    @contextmanager
    def beside(
        self, name: str, database: str, events: ServiceProcess, **settings: str
    ) -> Iterator[ServiceProcess]:
        """Run another service, which asks an events service, in the same database."""
        self.postgres.create_schema(database, name)
        migrations.upgrade(self.postgres.url(database, name), name, f"services.{name}")
        token_file = self.directory / f"{name}.token"
        token_file.write_text(self.token)
        chosen = {**_asking(name, events.address, token_file), **settings}
        with self._process(name, database, chosen) as process:
            yield process

    @contextmanager
    def _process(self, name: str, database: str, settings: Mapping[str, str]) -> Iterator[ServiceProcess]:
        address = f"127.0.0.1:{free_port()}"
        chosen = {
            "ADDRESS": address,
            "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
            "DATABASE_URL": self.postgres.url(database, name),
            "TOKEN_PUBLIC_KEY_FILE": str(self.directory / "public.pem"),
            "ENCRYPTION_KEYS": f"1:{KEY}",
            "BLIND_INDEX_KEY": KEY,
            **settings,
        }
        prefixed = {f"{name.upper()}_{setting}": value for setting, value in chosen.items()}
        environment = os.environ | prefixed
        log = self.directory / f"{database}_{name}.log"
        module = f"services.{name}"
        process = children.start([sys.executable, "-m", module], log=log, environment=environment)
        try:
            _wait_until_serving(process, address, log)
            yield ServiceProcess(process.pid, address, self.token)
        finally:
            process.terminate()
            process.wait()


@contextmanager
def running() -> Iterator[Stack]:
    """Run PostgreSQL in a fresh directory that is removed in the end."""
    directory = DIRECTORY / str(os.getpid())
    directory.mkdir(parents=True)
    private, public = generate_keys()
    (directory / "public.pem").write_bytes(public)
    token = mint_token(private, "benchmark", [Role.ADMIN], None, time.time())
    postgres = deploy.postgres.start(directory / "postgres")
    try:
        yield Stack(directory, postgres, token)
    finally:
        postgres.close()
        shutil.rmtree(directory)


def _asking(name: str, events: str, token_file: Path) -> dict[str, str]:
    """Return the settings of a service that asks events."""
    if name == "forecasting":
        return {"METRIC_SOURCES": json.dumps({"events": events}), "SOURCES_TOKEN_FILE": str(token_file)}
    flags = {"FLAGD_ADDRESS": f"127.0.0.1:{free_port()}"} if name == "experiments" else {}
    return {"EVENTS_ADDRESS": events, "EVENTS_TOKEN_FILE": str(token_file), **flags}


def _wait_until_serving(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not says_serving(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service does not start:\n{children.tail(log)}")
        time.sleep(0.05)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
