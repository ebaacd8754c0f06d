"""The chores beside the calls."""

import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import sqlalchemy

from services.events import housekeeping
from services.events.housekeeping import collecting, partitions_ahead, stalled_copies
from services.events.ingest import store
from services.events.ingest.partitions import Partitions
from tests.waiting import DEADLINE, until


@pytest.fixture
def client(events_database: str) -> Iterator[psycopg.Connection]:
    connection = psycopg.connect(events_database)
    yield connection
    connection.close()


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


def test_what_calls_leave_in_cycles_is_freed() -> None:
    class Left:
        def __init__(self) -> None:
            self.itself = self

    seen = weakref.ref(Left())
    assert seen() is not None
    collecting().run()
    assert seen() is None
