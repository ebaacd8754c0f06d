"""A release that expands the schema rolls out under load, and is taken back: no call fails, nothing is lost.

The old release is this checkout. The new one is a copy of it with one more revision, and with code that needs
what this revision adds.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest

from shared import clients, revisions
from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Manner
from tests.faults.servers import KEY, SERVING, Server, within

pytestmark = pytest.mark.faults

CHECKOUT = Path(__file__).parents[2]
GENERATED = CHECKOUT / "protos" / "gen"
PACKAGE = "services.events"
# Columns, an index, a table and a trigger: what a release may add while the one before it runs.
EXPANSION = '''
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE events ADD COLUMN source text, ADD COLUMN priority int2 NOT NULL DEFAULT 0;
        ALTER TABLE users ADD COLUMN first_event_time timestamptz;
        CREATE INDEX users_first_event_time_idx ON users (first_event_time);
        CREATE TABLE written (event_id uuid NOT NULL, source text);
        CREATE FUNCTION note_written() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO written SELECT event_id, source FROM came;
            RETURN NULL;
        END $$;
        CREATE TRIGGER note_written AFTER INSERT ON events REFERENCING NEW TABLE AS came
            FOR EACH STATEMENT EXECUTE FUNCTION note_written();
    """)
'''
# In the statement of every batch; the new release reads a new column there as well.
LOOKS = "AND events.event_id = sent.event_id"
MANNER = Manner(clients=4, batch=20, retry_seconds=60)
CALLS = 15


@pytest.fixture
def new_release(tmp_path: Path) -> tuple[Path, str]:
    """Where the new release is, and its newest revision."""
    root = tmp_path / "release"
    for package in ("services", "shared", "brain_client"):
        shutil.copytree(CHECKOUT / package, root / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = revisions.newest(PACKAGE)
    revision = f"{int(before) + 1:04}"
    versions = root / "services" / "events" / "migrations" / "versions"
    written = EXPANSION.format(revision=revision, before=before)
    (versions / f"{revision}_expansion.py").write_text(written)
    store = root / "services" / "events" / "ingest" / "store.py"
    source = store.read_text()
    assert source.count(LOOKS) == 1
    store.write_text(source.replace(LOOKS, f"{LOOKS} AND events.priority >= 0"))
    return root, revision


@pytest.fixture
def replicas(database: Database, tmp_path: Path) -> Iterator[list[Server]]:
    """Two addresses, each of the old release until it is started otherwise."""
    with ExitStack() as ended:
        made = []
        for number in range(2):
            directory = tmp_path / str(number)
            directory.mkdir()
            server = Server("events", database.url("events"), directory)
            ended.callback(server.kill)
            made.append(server)
        yield made


def migrate(release: Path, url: str) -> str:
    """Run the release's own command, as an operator does."""
    told = {"DATABASE_URL": url, "AUTH": "off", "ENCRYPTION_KEYS": f"1:{KEY}", "BLIND_INDEX_KEY": KEY}
    environment = {**os.environ, **{f"EVENTS_{name}": value for name, value in told.items()}}
    done = subprocess.run(
        [sys.executable, "-m", PACKAGE, "migrate"],
        env={**environment, **importing(release)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def importing(release: Path) -> dict[str, str]:
    """What has a process import a release rather than what lies in the current directory."""
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(str, (release, GENERATED)))}


def start(server: Server, release: Path) -> None:
    with pytest.MonkeyPatch.context() as environment:
        for name, value in importing(release).items():
            environment.setenv(name, value)
        server.start()


def replace(servers: list[Server], release: Path, load: Load) -> None:
    """Roll: one after the other is drained and started again, with calls in between."""
    for server in servers:
        server.stop()
        start(server, release)
        server.wait_until(SERVING)
        go_on(load)


def go_on(load: Load) -> None:
    wanted = load.tally.calls + CALLS
    assert within(60, lambda: load.tally.calls >= wanted), load.tally


def test_an_upgrade_rolls_out_and_back_without_a_failed_call(
    database: Database,
    replicas: list[Server],
    new_release: tuple[Path, str],
    ledger: Ledger,
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    release, revision = new_release
    for server in replicas:
        start(server, CHECKOUT)
    for server in replicas:
        server.wait_until(SERVING)
    targets = ",".join(server.address for server in replicas)

    def connect(_client: int) -> grpc.Channel:
        return clients.channel(targets, None)

    with Load(ledger, connect, MANNER) as load:
        go_on(load)
        migrate(release, database.url("events"))  # the old release runs on
        assert at(database) == revision
        go_on(load)
        replace(replicas[:1], release, load)  # one of each
        replace(replicas[1:], release, load)
        migrate(CHECKOUT, database.url("events"))  # changes nothing
        replace(replicas, CHECKOUT, load)  # taken back; the schema stays
        assert at(database) == revision
    tell(**load.tally.figures())
    assert not load.tally.failed_calls
    verdict = judge()
    assert verdict.problems == ()
    with database.connect() as connection:
        [noted] = connection.execute("SELECT count(DISTINCT event_id) FROM written").fetchone() or (0,)
    assert 0 < noted < verdict.stored


def test_the_new_release_waits_for_its_revision(
    database: Database, replicas: list[Server], new_release: tuple[Path, str]
) -> None:
    release, revision = new_release
    server = replicas[0]
    start(server, release)
    assert within(60, lambda: f"needs {revision}" in server.log.read_text())
    assert server.health() != SERVING
    migrate(release, database.url("events"))
    server.wait_until(SERVING)


def at(database: Database) -> str:
    with database.connect() as connection:
        [held] = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
    return str(held)
