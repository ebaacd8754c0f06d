"""The whole suite on one machine: its PostgreSQL, its services, started, watched and stopped in order."""

import json
import os
import shutil
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path

import deploy.postgres
from deploy import children, keys, locks
from deploy.errors import LaunchError
from deploy.postgres import EmbeddedPostgres
from deploy.processes import SERVING_SECONDS, ServiceProcess, keep_small
from deploy.rolling import DONE, SUITE_LOCK, RollingRestart, tell
from deploy.settings import LocalSettings, Service
from shared import revisions

DATABASE = "brain"
JOURNALS = "erasures"
GIBIBYTE = 1024**3
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
CONNECTIONS_OF_A_REPLICA = 100  # one process of every service opens up to eighty
# Services that read metrics of all those before them.
_READ_ANY_METRIC = frozenset({"alerts", "forecasting"})


class Suite:
    """Everything `up` starts. Not to be shared between threads."""

    def __init__(self, settings: LocalSettings, stop_requested: Callable[[], bool]) -> None:
        self.settings = settings
        self.directory = settings.directory.resolve()
        self.tokens: dict[str, str] = {}
        self.write_key = ""
        self._stop_requested = stop_requested
        self._lock: int | None = None
        self._postgres: EmbeddedPostgres | None = None
        self._restarts = RestartPauses()
        self._rolling: RollingRestart | None = None
        self._asked_again = False
        logs = self.directory / "logs"
        everything = (*settings.services(), settings.gateway())
        self._processes = [ServiceProcess(one, logs / f"{one.label}.log") for one in everything]
        self._pauses = {process: RestartPauses() for process in self._processes}

    def shortage(self) -> str | None:
        """Return why no events will be taken for want of disk space, or None."""
        wanted = self.settings.minimum_free_bytes
        place = next(path for path in (self.directory, *self.directory.parents) if path.exists())
        free = shutil.disk_usage(place).free
        if free >= wanted:
            return None
        return (
            f"Only {free / GIBIBYTE:.1f} GiB are free on the disk of {self.directory}, and events are "
            f"refused while it is less than {wanted / GIBIBYTE:.1f}: free some, or choose another "
            "BRAIN_DIRECTORY or a smaller BRAIN_MAX_WAL_MEBIBYTES, half of what must be free."
        )

    def start(self) -> None:
        """Start everything and return once all serve or a stop is requested; raise LaunchError."""
        make_directory(self.directory)
        self._lock = locks.take(self.directory / SUITE_LOCK, "the suite of this directory")
        for process in self._processes:
            process.refuse_taken_addresses()
        data = self.directory / "postgres"
        names = list(self._service_names())
        secrets = keys.ensure_secrets(self.directory, names, data_exists=data.exists())
        self.write_key = keys.write_key(secrets)
        self.tokens = keys.ensure_tokens(self.directory)
        keep_small(data.with_name("postgres.log"))
        chosen = {
            "max_wal_size": f"{self.settings.max_wal_mebibytes}MB",
            "max_connections": str(CONNECTIONS_OF_A_REPLICA * self.settings.replicas),
        }
        self._postgres = deploy.postgres.start(data, settings=chosen)
        self._postgres.create_database(DATABASE)
        for process in self._processes:
            process.start(self._settings_of(process.service, self._postgres, secrets))
        for process in self._processes:
            # They all start at once, and share the processors.
            process.wait_until_serving(self._stop_requested, SERVING_SECONDS * self.settings.replicas)

    def watch(self) -> None:
        """Look at every process once, start again what has died, and go on with a restart under way."""
        for process in self._processes:
            expected = self._rolling is not None and self._rolling.current is process
            if not expected and not process.is_running():
                self._revive(process)
        if self._postgres and not self._postgres.is_running():
            self._restart(self._postgres)
        if self._rolling is not None:
            self._go_on(self._rolling)

    def begin_restart(self) -> None:
        """Restart every process in turn, with the secrets as they are now, as `watch` is called.

        Once more where that is under way already: who asks then may have changed the code since.
        """
        self._asked_again = self._rolling is not None
        if self._rolling is None:
            secrets = keys.read_variables(self.directory / keys.SECRETS)
            for process in self._processes:
                process.tell(_own(secrets, process.service))
            self._rolling = RollingRestart(self._processes, frozenset(self._service_names()))

    def stop(self) -> None:
        """Stop services, then PostgreSQL, whatever of them runs."""
        for process in self._processes:
            process.request_stop()
        for process in self._processes:
            process.wait()
        if self._postgres:
            self._postgres.close()
        if self._lock is not None:
            os.close(self._lock)

    def _settings_of(
        self, service: Service, postgres: EmbeddedPostgres, secrets: dict[str, str]
    ) -> dict[str, str]:
        """Return what a process is told, its own secrets with it; a service's schema is ready then."""
        chosen = {
            "ADDRESS": service.address,
            "METRICS_ADDRESS": service.metrics_address,
            "TOKEN_PUBLIC_KEY_FILE": str(self.directory / keys.PUBLIC_KEY),
        }
        if service.name == "gateway":
            chosen |= {
                f"{name.upper()}_ADDRESS": self.settings.address_of(name) for name in self._service_names()
            }
            chosen |= {"INGEST_TOKEN": self.tokens["ingest"]}
        else:
            chosen |= self._prepare(service, postgres)
        if service.name in keys.SERVICE_ROLES:
            chosen |= self._asked_by(service)
        prefix = f"{service.name.upper()}_"
        return {f"{prefix}{name}": value for name, value in chosen.items()} | _own(secrets, service)

    def _asked_by(self, service: Service) -> dict[str, str]:
        """Return the settings of who asks other services."""
        token = str(self.directory / f"{service.name}.token")
        if service.name in _READ_ANY_METRIC:
            others = takewhile(lambda name: name != service.name, self._service_names())
            sources = json.dumps({name: self.settings.address_of(name) for name in others})
            return {"METRIC_SOURCES": sources, "SOURCES_TOKEN_FILE": token}
        return {"EVENTS_ADDRESS": self.settings.address_of("events"), "EVENTS_TOKEN_FILE": token}

    def _prepare(self, service: Service, postgres: EmbeddedPostgres) -> dict[str, str]:
        """Migrate the service's schema and return the settings of its database."""
        url = postgres.url(DATABASE, service.name)
        if service.number == 1:
            postgres.create_schema(DATABASE, service.name)
            _migrate(url, service.name)
        return {
            "DATABASE_URL": url,
            "DATABASE_SCHEMA": service.name,
            "ERASURE_JOURNAL": str(journal_of(self.directory, service.name)),
            **service.more_addresses,
            **(self._disk(postgres) if service.name == "events" else {}),
        }

    def _disk(self, postgres: EmbeddedPostgres) -> dict[str, str]:
        """Return the settings of who watches the database's disk."""
        return {
            "DISK_PATH": str(postgres.data_directory),
            "MINIMUM_FREE_BYTES": str(self.settings.minimum_free_bytes),
        }

    def _service_names(self) -> dict[str, None]:
        """Return each service's name once, in order."""
        return dict.fromkeys(service.name for service in self.settings.services())

    def _revive(self, process: ServiceProcess) -> None:
        if not self._pauses[process].due(time.monotonic()):
            return
        print(process.obituary(), flush=True)
        process.start_again()
        print(f"{process.service.label} was started again.", flush=True)

    def _go_on(self, rolling: RollingRestart) -> None:
        try:
            if not rolling.step():
                return
        except LaunchError as error:
            said = f"The restart ended half-way; what was not restarted yet runs as before. {error}"
            print(said, flush=True)
        else:
            said = DONE
            print("Every process was restarted.", flush=True)
        self._rolling = None
        if self._asked_again:
            self.begin_restart()
        else:
            tell(self.directory, said)

    def _restart(self, postgres: EmbeddedPostgres) -> None:
        if not self._restarts.due(time.monotonic()):
            return
        print(f"PostgreSQL has died. --- {postgres.log}\n{children.tail(postgres.log)}\n---", flush=True)
        try:
            postgres.start()
        except LaunchError as error:
            print(f"PostgreSQL does not start: {error}", flush=True)
        else:
            print("PostgreSQL was started again and recovered what was committed.", flush=True)


def _own(secrets: dict[str, str], service: Service) -> dict[str, str]:
    prefix = f"{service.name.upper()}_"
    return {name: value for name, value in secrets.items() if name.startswith(prefix)}


def _migrate(url: str, service: str) -> None:
    package = f"services.{service}"
    if not revisions.is_newest(url, package):
        from shared import migrations  # noqa: PLC0415 - Alembic and SQLAlchemy would take a second of every start

        migrations.upgrade(url, service, package)


class RestartPauses:
    """When to start a died server again: at once, then after 1, 2, 4 … 30 s while it keeps dying."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self._pause = 0.0

    def due(self, now: float) -> bool:
        """Tell whether to try at `now` (monotonic seconds), and if so count that as a try."""
        since = now - self._last
        if since < self._pause:
            return False
        steady = since > self._pause + STEADY_SECONDS
        self._pause = 1.0 if steady else min(max(1.0, 2 * self._pause), LONGEST_PAUSE_SECONDS)
        self._last = now
        return True


def make_directory(directory: Path) -> None:
    """Create the suite's directory, closed to others.

    Root's may be passed through, as PostgreSQL runs as another user; every file in it is closed by itself.
    """
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711 if children.unprivileged_account() else 0o700)
    for name in ("logs", JOURNALS):
        (directory / name).mkdir(mode=0o700, exist_ok=True)


def journal_of(directory: Path, service: str) -> Path:
    """Return the file that remembers whom a service erased, apart from its database."""
    return directory / JOURNALS / f"{service}.jsonl"
