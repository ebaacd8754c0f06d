"""Row 5: the disk under the database is full, and some time later it is not."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from time import sleep

import grpc
import psycopg
import pytest

from tests.faults.checker import Verdict
from tests.faults.conftest import Database, make_database
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Manner
from tests.faults.servers import SERVING, Server, within

pytestmark = pytest.mark.faults

SECONDS = 20.0
DISK_MEBIBYTES = 384
MINIMUM_FREE_BYTES = 96 * 2**20  # more than is written between two looks at the disk
WAL = {"min_wal_size": "32MB", "max_wal_size": "64MB"}
SHOWN = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE})
Full = AbstractContextManager[None]
MANNER = Manner(batch=100, retry_seconds=0, pause_seconds=0.01)


@pytest.fixture
def disk(scratch_directory: Path) -> Iterator[Path]:
    """A small disk. Needs the right to mount, which root has outside of most containers."""
    path = scratch_directory / "disk"
    path.mkdir()
    options = f"size={DISK_MEBIBYTES}m,mode=755"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        path.rmdir()
        pytest.skip(f"a full disk needs the right to mount a small one: {mounted.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)
    path.rmdir()


@pytest.fixture
def database(disk: Path) -> Iterator[Database]:
    made = make_database(disk / "postgres", ("events",), **WAL)
    yield made
    made.postgres.close()


def fill(disk: Path) -> Path:
    """Leave no byte free; return what to remove again."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(65_536))
    with ballast.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(512))
    return ballast


def free_bytes(disk: Path) -> int:
    return shutil.disk_usage(disk).free


def use_up_wal(database: Database) -> None:
    """Begin one file of the write-ahead log after the other until there is no room for the next."""
    with suppress(psycopg.OperationalError), database.connect() as connection:
        for _ in range(100):
            connection.execute("SELECT pg_logical_emit_message(false, 'fill', 'x'), pg_switch_wal()")


@pytest.fixture(params=["tables", "write-ahead log"])
def full_disk(request: pytest.FixtureRequest, disk: Path, database: Database) -> Callable[[], Full]:
    """Fills the disk while it is entered, for tables alone or for the write-ahead log too."""

    @contextmanager
    def fill_up() -> Iterator[None]:
        ballast = fill(disk)
        if request.param == "write-ahead log":
            use_up_wal(database)
        yield
        ballast.unlink()
        if not database.postgres.is_running():  # then `make up` would start it again, as often as needed
            database.postgres.start()

    return fill_up


@pytest.fixture
def server(database: Database, start: Callable[..., Server]) -> Server:
    return start("events", database.url("events"))


def test_a_full_disk_is_told_and_loses_nothing(
    full_disk: Callable[[], Full],
    server: Server,
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    with Load(ledger, lambda _client: server.plain_channel(), MANNER) as load:
        assert load.gets_through(1_000, 20)
        with full_disk():
            assert within(30, lambda: load.tally.failed_calls.total() > 50)
            sleep(lasting(SECONDS))
        server.wait_until(SERVING, 20)
        assert load.gets_through(1_000, 20)
    verdict = judge()
    tell(**load.tally.figures())
    assert not verdict.problems
    assert set(load.tally.failed_calls) <= SHOWN
    assert server.starts == 1


def test_a_watched_disk_stops_events_before_it_stops_the_database(
    disk: Path,
    database: Database,
    start: Callable[..., Server],
    ledger: Ledger,
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    watched = {"DISK_PATH": str(disk), "MINIMUM_FREE_BYTES": str(MINIMUM_FREE_BYTES)}
    server = start("events", database.url("events"), **watched)
    with Load(ledger, lambda _client: server.plain_channel(), MANNER) as load:
        assert load.gets_through(1_000, 20)
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(free_bytes(disk) - MINIMUM_FREE_BYTES + 2**20))
        assert within(10, lambda: load.tally.failed_calls.total() > 50)
        assert server.health() == SERVING, "who reads is served"
        ballast.unlink()
        assert load.gets_through(1_000, 20)
    verdict = judge()
    tell(**load.tally.figures())
    assert not verdict.problems
    assert set(load.tally.failed_calls) == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert database.postgres.is_running()
