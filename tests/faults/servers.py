"""Services as processes of their own, on addresses that stay theirs, to be killed and started again."""

import base64
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy import children
from shared import clients

if TYPE_CHECKING:
    import subprocess

KEY = base64.b64encode(bytes(range(32))).decode()
START_SECONDS = 60
STOP_SECONDS = 30
LOOK_SECONDS = 0.02
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Server:
    """A replica of a service. It takes every caller for an administrator."""

    def __init__(self, name: str, database_url: str, directory: Path, **settings: str) -> None:
        """`settings` are named without the service's prefix; `directory` gets its log."""
        self.name = name
        self.address = settings.get("ADDRESS", f"127.0.0.1:{free_port()}")
        self.log = directory / f"{name}_{self.address.rpartition(':')[2].replace('/', '_')}.log"
        self.starts = 0
        # What its process gets besides the settings.
        self.environment: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = {
            "ADDRESS": self.address,
            "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
            "DATABASE_URL": database_url,
            "AUTH": "off",
            "ENCRYPTION_KEYS": f"1:{KEY}",
            "BLIND_INDEX_KEY": KEY,
            **settings,
        }

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    @property
    def metrics_address(self) -> str:
        """Where Prometheus would scrape."""
        return self._settings["METRICS_ADDRESS"]

    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process. It lives no longer than the thread that starts it."""
        assert not self.is_running()
        prefixed = {f"{self.name.upper()}_{name}": value for name, value in self._settings.items()}
        environment = {**os.environ, **self.environment, **prefixed}
        command = [sys.executable, "-m", f"services.{self.name}"]
        self._process = children.start(command, log=self.log, environment=environment)
        self.starts += 1

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Let it drain and end."""
        self._end(signal.SIGTERM)

    def suspend(self) -> None:
        """Stop its clock: nothing of it runs, its connections stay."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def channel(self) -> grpc.Channel:
        """Open a channel as the suite's own clients do, with their retry policy."""
        return clients.channel(self.address, None)

    def plain_channel(self) -> grpc.Channel:
        """Open a channel that shows every failure."""
        return plain_channel(self.address)

    def health(self) -> int | None:
        """Ask once how it is; None where nobody answers within a second."""
        with self.plain_channel() as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            try:
                reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=1)  # type: ignore[attr-defined]  # stubs lack it
            except grpc.RpcError:
                return None
            return int(reply.status)

    def wait_until(self, health: int, seconds: float = START_SECONDS) -> float:
        """Wait for a health; return after how many seconds it came, and fail if it does not in time."""
        started = monotonic()
        came = within(seconds, lambda: self.health() == health or not self.is_running())
        assert self.is_running(), f"{self.name} ended:\n{children.tail(self.log)}"
        assert came, f"{self.name} is not {health} within {seconds} s:\n{children.tail(self.log)}"
        return monotonic() - started

    def logged_calls(self) -> list[dict[str, object]]:
        """Return its log lines of calls: method, code, duration_ms and more."""
        return [line for line in self._lines() if line.get("message") == "call"]

    def faults_of_calls(self) -> list[dict[str, object]]:
        """Return the log lines, with their traces, of calls that ended as INTERNAL."""
        return [call for call in self.logged_calls() if call["code"] == grpc.StatusCode.INTERNAL.name]

    def _lines(self) -> Iterator[dict[str, object]]:
        for line in self.log.read_text().splitlines():
            if line.startswith("{"):
                yield json.loads(line)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)
        self._process.wait(STOP_SECONDS)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Yield a server that serves; end it in the end, however it is by then."""
    server.start()
    try:
        server.wait_until(SERVING)
        yield server
    finally:
        server.kill()


def plain_channel(address: str, options: Mapping[str, int] | None = None) -> grpc.Channel:
    """Open a channel without retries, on a connection of its own."""
    chosen = {"grpc.enable_retries": 0, "grpc.use_local_subchannel_pool": 1, **(options or {})}
    return grpc.insecure_channel(address, options=tuple(chosen.items()))


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    """Wait for a condition; tell whether it came true in time."""
    deadline = monotonic() + seconds
    while not condition():
        if monotonic() > deadline:
            return False
        sleep(LOOK_SECONDS)
    return True


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
