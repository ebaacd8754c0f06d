"""The command that runs the suite, as a person starts it: `python -m deploy.local`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from deploy import data_directories
from deploy.settings import PORTS_APART

PATIENCE_SECONDS = 60


class Launcher:
    """The command in a session of its own, on free ports, with everything it writes in `directory`."""

    def __init__(
        self,
        directory: Path,
        ports: Sequence[int],
        output: str = "first.output",
        command: str = "up",
        replicas: int = 1,
    ) -> None:
        self.directory = directory
        self.replicas = replicas
        self.address = f"127.0.0.1:{ports[0]}"
        self.gateway_url = f"http://127.0.0.1:{ports[2]}"
        self.output = directory.with_name(f"{directory.name}.{output}")
        self.environment = {
            **os.environ,
            "BRAIN_REPLICAS": str(replicas),
            "BRAIN_DIRECTORY": str(directory),
            "BRAIN_EVENTS_PORT": str(ports[0]),
            "BRAIN_EVENTS_METRICS_PORT": str(ports[1]),
            "BRAIN_GATEWAY_PORT": str(ports[2]),
            "BRAIN_GATEWAY_METRICS_PORT": str(ports[3]),
            "BRAIN_EXPERIMENTS_PORT": str(ports[4]),
            "BRAIN_EXPERIMENTS_METRICS_PORT": str(ports[5]),
            "BRAIN_EXPERIMENTS_FLAGD_PORT": str(ports[6]),
            "BRAIN_FUNNELS_PORT": str(ports[7]),
            "BRAIN_FUNNELS_METRICS_PORT": str(ports[8]),
            "BRAIN_ALERTS_PORT": str(ports[9]),
            "BRAIN_ALERTS_METRICS_PORT": str(ports[10]),
            "BRAIN_FORECASTING_PORT": str(ports[11]),
            "BRAIN_FORECASTING_METRICS_PORT": str(ports[12]),
            "BRAIN_MAX_WAL_MEBIBYTES": "64",
        }
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local", command],
                stdout=file,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )

    def address_of(self, service: str) -> str:
        """Return where a service listens, or another replica of it, as the command told."""
        [address] = re.findall(rf"^  {re.escape(service)} +(\S+)", self.said(), re.MULTILINE)
        return str(address)

    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, words: str) -> None:
        eventually(
            lambda: words in self.said() or self.process.poll() is not None,
            self.said,
            PATIENCE_SECONDS * self.replicas,
        )
        assert words in self.said(), self.said()

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_SECONDS)

    def restart(self) -> "subprocess.CompletedProcess[str]":
        """Give the command that restarts it."""
        command = [sys.executable, "-m", "deploy.local", "restart"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def processes(self) -> dict[int, str]:
        """Each process of this suite but the launcher, with its command line."""
        return {pid: line for pid, line in processes_of(self.directory) if pid != self.process.pid}

    def pid_of(self, words: str) -> int:
        [pid] = [pid for pid, line in self.processes().items() if words in line]
        return pid


def processes_of(directory: Path) -> Iterator[tuple[int, str]]:
    """Find the processes that name the directory, in their command line or environment."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            told = line.encode() + (process / "environ").read_bytes()
        except OSError:  # it has just ended
            continue
        names = (str(directory), data_directories.mark(directory / "postgres"))
        if any(name.encode() in told for name in names) and int(process.name) != os.getpid():
            yield int(process.name), line


def eventually(
    condition: Callable[[], bool], evidence: Callable[[], str], seconds: float = PATIENCE_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, evidence()
        time.sleep(0.02)


def free_ports(replicas: int = 1) -> list[int]:
    """Return ports for Launcher; those of further replicas are free as well."""
    found: list[int] = []
    with ExitStack() as stack:
        while len(found) < 13:
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            with suppress(OSError, OverflowError):
                for further in range(1, replicas):
                    address = ("127.0.0.1", port + PORTS_APART * further)
                    stack.enter_context(socket.create_server(address))
                found.append(port)
    return found
