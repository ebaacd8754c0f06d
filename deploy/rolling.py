"""A rolling restart: every process of the suite in turn, while the others go on serving.

Who asks (`python -m deploy.local restart`) signals the process that runs the suite and waits for its word in
a file; whatever runs on the machine then is of the code that lies on the disk.
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from deploy import keys, locks
from deploy.errors import LaunchError
from deploy.processes import SERVING_SECONDS, STOP_SECONDS, ServiceProcess, is_serving
from deploy.settings import LocalSettings

SIGNAL = signal.SIGUSR1  # a closed terminal sends SIGHUP, and that must end the suite
SUITE_LOCK = "suite.lock"
# Of who asks for a restart, and of who restores: the signal would end any other holder of the suite's lock.
RESTART_LOCK = "restart.lock"
DONE = "done"
# Clients try an address that was away again after a second: before that the next replica must not go.
FOUND_AGAIN_SECONDS = 2.0


def ask(settings: LocalSettings) -> None:
    """Have the running suite of this directory restarted, and return when it is; raise LaunchError."""
    directory = settings.directory.resolve()
    asking = locks.take(directory / RESTART_LOCK, "a restart or a restore") if directory.exists() else None
    launcher = locks.holder(directory / SUITE_LOCK)
    if asking is None or launcher is None:
        raise LaunchError(f"No suite runs in {directory}: `make up` starts one.")
    with suppress(FileNotFoundError):
        _result(directory).unlink()
    print("Restarting, one process at a time.", flush=True)
    os.kill(launcher, SIGNAL)
    while not _result(directory).exists():
        if locks.holder(directory / SUITE_LOCK) != launcher:
            raise LaunchError("The suite ended before it was restarted.")
        time.sleep(0.1)
    said = _result(directory).read_text()
    os.close(asking)
    if said != DONE:
        raise LaunchError(said)


def tell(directory: Path, said: str) -> None:
    """Tell who asked what came of it."""
    keys.write(_result(directory), said)


def _result(directory: Path) -> Path:
    return directory / "restart.result"


class RollingRestart:
    """A restart of `processes`, in their order, that goes on whenever `step` is called.

    `migrated` are the services whose schema is brought up to date before their first process goes. `current`
    is the process that is away on purpose.
    """

    def __init__(self, processes: Sequence[ServiceProcess], migrated: frozenset[str]) -> None:
        self.current: ServiceProcess | None = None
        self._migrated = migrated
        self._steps = self._all(processes)

    def step(self) -> bool:
        """Go on as far as nothing need be waited for, and return whether it is done; raise LaunchError."""
        return next(self._steps, DONE) is DONE

    def _all(self, processes: Sequence[ServiceProcess]) -> Iterator[None]:
        for process in processes:
            service = process.service
            began = time.monotonic()
            if service.number == 1 and service.name in self._migrated:
                yield from _migrate(process)
            if service.number > 1:
                yield from _pause(FOUND_AGAIN_SECONDS)
            self.current = process
            yield from _stop(process)
            process.start_again()
            yield from _wait_until_serving(process)
            self.current = None
            print(f"{service.label} was restarted in {time.monotonic() - began:.1f} s.", flush=True)


def _migrate(process: ServiceProcess) -> Iterator[None]:
    migration = process.migrate()
    while migration.poll() is None:
        yield
    if migration.returncode != 0:
        raise LaunchError(f"The schema of {process.service.name} was not migrated.\n{process.evidence()}")


def _stop(process: ServiceProcess) -> Iterator[None]:
    process.request_stop()
    end = time.monotonic() + STOP_SECONDS
    while process.is_running() and time.monotonic() < end:
        yield
    process.wait(0)


def _wait_until_serving(process: ServiceProcess) -> Iterator[None]:
    end = time.monotonic() + SERVING_SECONDS
    while not is_serving(process.service):
        if not process.is_running():
            raise LaunchError(process.obituary())
        if time.monotonic() > end:
            raise process.overdue()
        yield


def _pause(seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
