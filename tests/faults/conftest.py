"""Fixtures of the faults: PostgreSQL that keeps what it commits, services as processes, a ledger."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

import deploy.postgres
from deploy.postgres import EmbeddedPostgres
from shared import migrations
from tests.faults import checker
from tests.faults.checker import Verdict
from tests.faults.ledger import Ledger, read
from tests.faults.servers import Server, running
from tests.services.alerts.receivers import Receiver, http_receiver

if TYPE_CHECKING:
    import psycopg

DATABASE = "faults"
SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")


@dataclass(frozen=True)
class Database:
    """A PostgreSQL to be harmed, with the schemas of every service."""

    postgres: EmbeddedPostgres

    def url(self, service: str) -> str:
        """Return where a service finds its tables."""
        return self.postgres.url(DATABASE, service)

    def url_through(self, service: str, directory: Path) -> str:
        """Return the same through a proxy that listens at `directory`/.s.PGSQL.5432."""
        return f"postgresql://{service}@/{DATABASE}?host={quote(str(directory))}&port=5432"

    @property
    def socket_address(self) -> str:
        """What such a proxy needs as its upstream."""
        return f"unix:{self.postgres.data_directory / '.s.PGSQL.5432'}"

    def connect(self, schema: str = "events") -> "psycopg.Connection[Any]":
        """Connect as the superuser, in autocommit mode, to the tables of a service."""
        connection = self.postgres.connect(DATABASE)
        connection.execute(f"SET search_path = {schema}".encode())
        return connection

    def connections(self, service: str) -> int:
        """Count the back ends of a service."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        with self.connect() as connection:
            [count] = connection.execute(query, [f"brain-{service}"]).fetchone() or (0,)
        return int(count)


def make_database(directory: Path, services: tuple[str, ...], **settings: str) -> Database:
    """Start PostgreSQL in a directory, with the tables of some services."""
    server = deploy.postgres.start(directory, settings={"shared_buffers": "64MB", **settings})
    server.create_database(DATABASE)
    for service in services:
        server.create_schema(DATABASE, service)
        migrations.upgrade(server.url(DATABASE, service), service, f"services.{service}")
    return Database(server)


def database_of(*services: str) -> Callable[..., Iterator[Database]]:
    """Return a fixture: a server with the tables of some services."""

    @pytest.fixture
    def made(scratch_directory: Path) -> Iterator[Database]:
        directory = scratch_directory / "faults"
        directory.mkdir()
        started = make_database(directory / "postgres", services)
        yield started
        started.postgres.close()
        shutil.rmtree(directory)

    return made


database = database_of("events")
alerts = database_of("alerts")
every_database = database_of(*SERVICES)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """(name, database URL, settings…): starts a replica and returns it serving."""
    with ExitStack() as stack:

        def begin(name: str, database_url: str, **settings: str) -> Server:
            return stack.enter_context(running(Server(name, database_url, tmp_path, **settings)))

        yield begin


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes webhooks."""
    with http_receiver() as started:
        yield started


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.jsonl") as made:
        yield made


@pytest.fixture
def judge(ledger: Ledger, database: Database) -> Callable[[], Verdict]:
    """Compares the ledger with what is stored now."""

    def compare() -> Verdict:
        with database.connect() as connection:
            return checker.check(read(ledger.path), connection)

    return compare


@pytest.fixture
def tell(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Callable[..., None]:
    """Prints what was measured, whether the test passes or not."""

    def figures(**measured: object) -> None:
        shown = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in measured.items())
        with capsys.disabled():
            print(f"\n{request.node.name}: {shown}", flush=True)  # noqa: T201 - for a person at a terminal

    return figures


@pytest.fixture
def lasting(request: pytest.FixtureRequest) -> Callable[[float], float]:
    """How many seconds a fault lasts that should last so many: fewer with --fault-seconds."""
    longest: float | None = request.config.getoption("--fault-seconds")
    return lambda seconds: seconds if longest is None else min(seconds, longest)
