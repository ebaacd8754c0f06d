"""The suite as `make up` runs it, in a directory and on ports of its own."""

import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from benchmarks.stack import free_port
from deploy import children, keys
from deploy.settings import LocalSettings
from deploy.suite import DATABASE
from shared import clients

if TYPE_CHECKING:
    import subprocess

    import grpc

START_SECONDS = 180
STOP_SECONDS = 60
# Caches are bounded by settings. So small they are full before measuring begins, and flat means flat.
SETTINGS: Mapping[str, str] = {
    "EVENTS_CACHED_USERS": "1000",
    "EVENTS_COLUMN_CACHE_BYTES": str(2**20),
    "FUNNELS_COLUMN_CACHE_BYTES": str(2**20),
    "EXPERIMENTS_CACHED_ASSIGNMENTS": "1000",
    "ALERTS_ALLOWED_NETWORKS": "127.0.0.1/32",
    "BRAIN_MAX_WAL_MEBIBYTES": "256",
}
_CONNECTIONS = """
SELECT substr(application_name, 7), count(*) FROM pg_stat_activity WHERE application_name LIKE 'brain-%'
GROUP BY 1 ORDER BY 1
"""


@dataclass(frozen=True)
class Suite:
    """A suite that serves."""

    settings: LocalSettings
    pid: int  # of the launcher

    @property
    def token(self) -> str:
        """Whose bearer may do everything."""
        return (self.settings.directory / "admin.token").read_text().strip()

    @property
    def write_key(self) -> str:
        """What senders of captured events show."""
        return keys.write_key(keys.read_variables(self.settings.directory / keys.SECRETS))

    @property
    def gateway_address(self) -> str:
        """Where the gateway speaks HTTP."""
        return self.settings.gateway().address

    @property
    def flags_address(self) -> str:
        """Where OpenFeature's flagd providers ask."""
        return f"{self.settings.host}:{self.settings.experiments_flagd_port}"

    def addresses(self) -> dict[str, str]:
        """Return where each service serves gRPC."""
        return {service.name: service.address for service in self.settings.services()}

    def channel(self, service: str) -> "grpc.Channel":
        """Open a channel as the suite's own clients do."""
        return clients.channel(self.settings.address_of(service), self.token)

    def database_connections(self) -> dict[str, int]:
        """Count the connections that each service holds."""
        host = str(self.settings.directory / "postgres")
        with psycopg.connect(host=host, user="brain", dbname=DATABASE) as connection:
            return {str(name): int(count) for name, count in connection.execute(_CONNECTIONS)}

    def errors(self) -> list[str]:
        """Return the lines of services' logs that tell of something nobody expected."""
        logs = sorted((self.settings.directory / "logs").glob("*.log*"))
        lines = (line for log in logs for line in log.read_text(errors="replace").splitlines())
        return [line for line in lines if '"level": "ERROR"' in line or line.startswith("Traceback")]


@contextmanager
def running(directory: Path) -> Iterator[Suite]:
    """Start the suite and yield it once it serves; stop it in the end. The directory is not removed."""
    ports = {name: free_port() for name in LocalSettings.model_fields if name.endswith("_port")}
    chosen = LocalSettings.model_validate({"directory": directory, **ports})
    named = {f"BRAIN_{name.upper()}": str(value) for name, value in chosen.model_dump().items()}
    output = directory.with_name(f"{directory.name}.output")
    environment = {**os.environ, **named, **SETTINGS}
    command = [sys.executable, "-m", "deploy.local", "up"]
    process = children.start(command, log=output, environment=environment)
    try:
        _wait(process, output)
        yield Suite(chosen, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        finally:
            process.kill()  # does nothing to what has ended


def _wait(process: "subprocess.Popen[bytes]", output: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while "Analytics Brain is up" not in output.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the suite does not start:\n{children.tail(output)}")
        time.sleep(0.1)
