"""A service of the suite as a child process."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from deploy import children
from deploy.errors import LaunchError
from deploy.settings import Service
from shared.healthcheck import says_serving

SERVING_SECONDS = 60
STOP_SECONDS = 30  # a service drains for 10 s of its own accord
LOG_SECONDS = 5
# Whatever proxy the environment names is for elsewhere.
direct = build_opener(ProxyHandler({}))
LARGEST_LOG_BYTES = 16 * 1024**2


class ServiceProcess:
    """`python -m` of a service, its log, and whether it serves. Not to be shared between threads."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self.log = log
        self._settings: Mapping[str, str] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._rotation: subprocess.Popen[bytes] | None = None

    def refuse_taken_addresses(self) -> None:
        """Raise LaunchError if something listens where this service will."""
        for choice, address in self.service.chosen_by().items():
            refuse_taken(address, choice)

    def start(self, settings: Mapping[str, str]) -> None:
        """Start it with these settings over the environment of this process.

        Raises LaunchError if a setting is already in the environment: to pick either value would surprise;
        and for settings of TLS, which whoever looks after the processes does not speak.
        """
        both = sorted(settings.keys() & os.environ.keys())
        if both:
            raise LaunchError(f"unset {', '.join(both)}: this command chooses them (see docs/settings.md)")
        secured = sorted(name for name in os.environ if name.startswith(f"{self.service.name.upper()}_TLS_"))
        if secured:
            raise LaunchError(f"unset {', '.join(secured)}: on one machine everything speaks without TLS")
        self._settings = settings
        self.start_again()

    def tell(self, settings: Mapping[str, str]) -> None:
        """Change some of its settings, from its next start on."""
        self._settings = {**self._settings, **settings}

    def start_again(self) -> None:
        """Start it with the settings it had."""
        self._rotation = start_rotation(self.log)
        assert self._rotation.stdin is not None
        with self._rotation.stdin as pipe:  # the service's own end of it stays open as long as it lives
            self._process = self._begin([], pipe.fileno())

    def migrate(self) -> subprocess.Popen[bytes]:
        """Begin to bring its schema up to date with the code as it is on the disk now."""
        return self._begin(["migrate"], self.log)

    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def wait_until_serving(
        self, stop_requested: Callable[[], bool], seconds: float = SERVING_SECONDS
    ) -> None:
        """Return once health is SERVING, or a stop is requested; raise LaunchError if it never is."""
        deadline = time.monotonic() + seconds
        while not stop_requested() and not is_serving(self.service):
            if not self.is_running():
                raise LaunchError(self.obituary())
            if time.monotonic() > deadline:
                raise self.overdue(seconds)
            time.sleep(0.05)

    def overdue(self, seconds: float = SERVING_SECONDS) -> LaunchError:
        """Return what to raise where it does not serve in time."""
        return LaunchError(f"{self.service.label} does not serve after {seconds} s.\n{self.evidence()}")

    def obituary(self) -> str:
        """Say that it died and show the end of its log."""
        code = self._process.returncode if self._process else None
        how = f"by {signal.Signals(-code).name}" if code is not None and code < 0 else f"with code {code}"
        return f"{self.service.label} ended {how}.\n{self.evidence()}"

    def request_stop(self) -> None:
        """Ask it to drain and end."""
        if self.is_running() and self._process:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = STOP_SECONDS) -> None:
        """Wait for its end; where that does not come in time, end it the hard way and say so."""
        if self._process is None:
            return
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            print(f"{self.service.label} did not stop within {STOP_SECONDS} s and was killed.", flush=True)
            self._process.kill()
            self._process.wait()
        self._finish_log()

    def _finish_log(self) -> None:
        """Wait until everything that a service said before its end is in its log."""
        if self._rotation is not None and not self.is_running():
            with suppress(subprocess.TimeoutExpired):
                self._rotation.wait(LOG_SECONDS)

    def evidence(self) -> str:
        """Return the end of its log."""
        self._finish_log()
        return f"--- {self.log}\n{children.tail(self.log)}\n---"

    def _begin(self, arguments: list[str], log: Path | int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", self.service.module, *arguments]
        return children.start(command, log=log, environment={**os.environ, **self._settings})


def is_serving(service: Service) -> bool:
    """Ask the service's own health once."""
    if service.health_url is None:
        return says_serving(service.address)
    try:
        with direct.open(service.health_url, timeout=1) as reply:
            return bool(reply.status == HTTPStatus.OK)
    except OSError:  # a code above 400, too
        return False


def refuse_taken(address: str, setting: str) -> None:
    """Raise LaunchError if something listens on the address already; `setting` is what changes it."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_server((host, int(port))).close()
    except OSError as error:
        why = str(error.strerror).partition(" (while")[0]  # create_server repeats the address
        raise LaunchError(f"cannot listen on {address}: {why}. {setting} chooses another port.") from error


def start_rotation(log: Path) -> subprocess.Popen[bytes]:
    """Start what writes its standard input to the log and keeps that small."""
    program = str(Path(__file__).with_name("rotate.py"))
    return subprocess.Popen(
        [sys.executable, "-I", "-S", program, str(log), str(LARGEST_LOG_BYTES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the launcher
    )


def keep_small(log: Path) -> None:
    """Move a log that has grown large out of the way; one older log is kept."""
    if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
        log.rename(log.with_name(log.name + ".1"))
