"""The chores beside the calls."""

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

import psycopg
import pytest
import sqlalchemy

from services.events import housekeeping
from services.events.housekeeping import Chore, Housekeeper, partitions_ahead, stalled_copies
from services.events.ingest import store
from services.events.ingest.partitions import Partitions
from shared.database import create_engine
from shared.errors import Unavailable

DEADLINE = 20.0


def until(condition: Callable[[], bool]) -> None:
    end = monotonic() + DEADLINE
    waiting = threading.Event()
    while not condition():
        assert monotonic() < end, "did not happen in time"
        waiting.wait(0.01)


@pytest.fixture
def client(events_database: str) -> Iterator[psycopg.Connection]:
    connection = psycopg.connect(events_database)
    yield connection
    connection.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed chores are tried again without the wait of a second."""
    monkeypatch.setattr(housekeeping, "RETRY_SECONDS", 0.001)


def is_copying(engine: sqlalchemy.Engine, pid: int) -> bool:
    asked = "SELECT state = 'active' AND wait_event = 'ClientRead' FROM pg_stat_activity WHERE pid = :pid"
    with engine.connect() as connection:
        return bool(connection.execute(sqlalchemy.text(asked), {"pid": pid}).scalar_one())


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == housekeeping.__name__]


def test_a_client_that_stops_in_the_middle_of_copying_is_ended(
    engine: sqlalchemy.Engine, client: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    pid, chore = client.info.backend_pid, stalled_copies(engine, 0.05)
    with (  # noqa: PT012 - the connection is lost while the block is left
        pytest.raises(psycopg.OperationalError),
        client.cursor() as cursor,
        cursor.copy(store._COPY.encode()),  # noqa: SLF001 - the very statement that ingest runs
    ):
        until(lambda: is_copying(engine, pid))
        until(lambda: chore.run() == 0.025 and messages(caplog) != [])
    assert client.broken
    assert messages(caplog) == ["ended a stalled connection"]


def test_who_has_been_silent_for_less_than_the_limit_is_left_alone(
    engine: sqlalchemy.Engine, client: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    with client.cursor() as cursor, cursor.copy(store._COPY.encode()) as copy:  # noqa: SLF001 - as above
        until(lambda: is_copying(engine, client.info.backend_pid))
        stalled_copies(engine, 600).run()
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff")
    assert not client.broken
    assert messages(caplog) == []


def test_other_people_s_work_is_left_alone(engine: sqlalchemy.Engine, client: psycopg.Connection) -> None:
    client.execute("CREATE TEMPORARY TABLE other (number int)")
    with client.cursor() as cursor, cursor.copy("COPY other FROM STDIN"):
        until(lambda: is_copying(engine, client.info.backend_pid))
        stalled_copies(engine, 0).run()
    client.execute("SELECT 'COPY events ('")  # idle in its transaction now
    stalled_copies(engine, 0).run()
    assert not client.broken


def test_a_copy_that_waits_for_somebody_else_is_left_alone(
    engine: sqlalchemy.Engine, events_database: str
) -> None:
    with (
        engine.begin() as other,
        psycopg.connect(events_database) as waiting,
        ThreadPoolExecutor(1) as thread,
    ):
        other.execute(sqlalchemy.text("LOCK TABLE events"))

        def copy() -> None:
            with waiting.cursor() as cursor, cursor.copy(store._COPY.encode()) as copying:  # noqa: SLF001 - as above
                copying.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\xff\xff")

        copied = thread.submit(copy)
        locks = sqlalchemy.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        until(lambda: other.execute(locks).scalar_one() == 1)
        stalled_copies(engine, 0).run()
        other.rollback()
        copied.result(DEADLINE)


def test_the_coming_months_are_made(engine: sqlalchemy.Engine) -> None:
    chore = partitions_ahead(Partitions(engine), lambda: 1_321_000_000_000_000)
    assert chore.run() == 3600
    with engine.connect() as connection:
        found = connection.execute(
            sqlalchemy.text(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'events'::regclass"
            )
        ).scalars()
        assert sorted(found) == ["events_y2011m11", "events_y2011m12", "events_y2012m01"]


@pytest.mark.usefixtures("quick")
def test_a_failing_chore_is_logged_once_and_goes_on_when_it_can(
    engine: sqlalchemy.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    away = create_engine(
        "postgresql://nobody@127.0.0.1:1/nothing", schema="x", pool_size=1, application_name="test"
    )
    runs: list[str] = []

    def run() -> float:
        # An outage of three runs, twice; each then works for two.
        runs.append("failed" if len(runs) % 5 < 3 else "worked")
        with (away if runs[-1] == "failed" else engine).connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        return 0.001 if len(runs) < 10 else 3600.0

    caplog.set_level(logging.INFO)
    keeper = Housekeeper([Chore("trying", run)])
    until(lambda: len(runs) == 10)
    keeper.stop()
    assert messages(caplog) == ["chore fails", "chore works again"] * 2
    assert {
        getattr(record, "chore", None) for record in caplog.records if record.name == housekeeping.__name__
    } == {"trying"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("gone"),
        sqlalchemy.exc.TimeoutError("busy"),
        Unavailable("away", "DATABASE_UNAVAILABLE"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_database_trouble_is_outlived(error: Exception) -> None:
    runs: list[int] = []

    def run() -> float:
        runs.append(1)
        if len(runs) < 3:
            raise error
        return 3600.0

    keeper = Housekeeper([Chore("trying", run)])
    until(lambda: len(runs) == 3)
    keeper.stop()


def test_one_chore_s_trouble_is_not_another_s() -> None:
    worked = threading.Event()

    def fail() -> float:
        raise psycopg.OperationalError("gone")

    def work() -> float:
        worked.set()
        return 3600.0

    keeper = Housekeeper([Chore("failing", fail), Chore("working", work)])
    assert worked.wait(DEADLINE)
    keeper.stop()


def test_stopping_does_not_wait_for_the_next_time() -> None:
    began, ran = monotonic(), threading.Event()

    def run() -> float:
        ran.set()
        return 3600.0

    keeper = Housekeeper([Chore("resting", run)])
    assert ran.wait(DEADLINE)
    keeper.stop()
    assert monotonic() - began < DEADLINE
    assert not any(thread.name == "chore-resting" for thread in threading.enumerate())
