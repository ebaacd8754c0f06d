"""Engines on a real server, and what its errors mean."""

import threading
from contextlib import suppress
from contextvars import Context

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import text

from deploy.postgres import EmbeddedPostgres
from shared import deadlines, migrations
from shared.database import create_engine, is_reachable, translate
from shared.errors import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)

PACKAGE = "tests.shared.throwaway_service"


@pytest.fixture
def migrated(empty_database: str) -> str:
    migrations.upgrade(empty_database, "red", PACKAGE)
    return empty_database


def engine_of(url: str, schema: str = "red") -> sqlalchemy.Engine:
    return create_engine(url, schema=schema, pool_size=1, application_name="a test")


def failure(url: str, statement: str) -> ServiceError | None:
    engine = engine_of(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    except sqlalchemy.exc.SQLAlchemyError as error:
        return translate(error)
    finally:
        engine.dispose()
    pytest.fail("the statement succeeded")


def test_an_engine_reaches_its_schema_and_says_who_it_is(migrated: str) -> None:
    engine = engine_of(migrated)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO things (name) VALUES ('hammer')"))
        assert connection.scalar(text("SELECT name FROM red.things")) == "hammer"
        assert connection.scalar(text("SHOW application_name")) == "a test"
    engine.dispose()


def test_an_engine_refuses_a_role_of_another_schema(migrated: str) -> None:
    engine = engine_of(migrated, schema="blue")
    with pytest.raises(Unavailable, match=r"\['red'\], not blue") as refused:
        engine.connect()
    assert refused.value.reason == "DATABASE_NOT_MIGRATED"
    engine.dispose()


def test_an_engine_refuses_a_role_that_also_reaches_public(empty_database: str) -> None:
    engine = engine_of(empty_database, schema="public")
    engine.connect().close()
    engine.dispose()
    engine = engine_of(empty_database)
    with pytest.raises(Unavailable, match="run its migrations"):
        engine.connect()
    engine.dispose()


def test_statements_are_never_prepared_on_one_connection(migrated: str) -> None:
    engine = engine_of(migrated)
    with engine.connect() as connection:
        for _ in range(10):
            connection.execute(text("SELECT :one + 1"), {"one": 1})
        assert connection.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0
    engine.dispose()


def test_a_terminated_connection_is_replaced_unnoticed(postgres: EmbeddedPostgres, migrated: str) -> None:
    engine = engine_of(migrated)
    with engine.connect() as connection:
        back_end = connection.scalar(text("SELECT pg_backend_pid()"))
    with postgres.connect() as superuser:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [back_end])
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != back_end
    engine.dispose()


def test_a_connection_lost_in_a_transaction_is_unavailable(postgres: EmbeddedPostgres, migrated: str) -> None:
    engine = engine_of(migrated)
    with engine.connect() as connection:
        back_end = connection.scalar(text("SELECT pg_backend_pid()"))
        with postgres.connect() as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [back_end])
        with pytest.raises(sqlalchemy.exc.DBAPIError) as lost:
            connection.execute(text("SELECT 1"))
    assert reason_of(lost.value) == (Unavailable, "DATABASE_UNAVAILABLE")
    engine.dispose()


def test_a_server_that_ends_every_session_at_once_is_unavailable(migrated: str) -> None:
    def end_session(connection: psycopg.Connection[object], _entry: object) -> None:
        with suppress(psycopg.OperationalError):
            connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    engine = engine_of(migrated)
    engine.connect().close()
    engine.dispose()
    sqlalchemy.event.listen(engine, "connect", end_session)
    for _ in range(2):  # with the pool empty, and with a dead connection in it
        with pytest.raises(Unavailable) as refused:
            engine.connect()
        assert refused.value.reason == "DATABASE_UNAVAILABLE"
    engine.dispose()


def test_an_absent_server_is_unavailable() -> None:
    engine = engine_of("postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(sqlalchemy.exc.OperationalError) as refused:
        engine.connect()
    assert reason_of(refused.value) == (Unavailable, "DATABASE_UNAVAILABLE")


def test_an_exhausted_pool_is_unavailable(migrated: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.database.POOL_TIMEOUT_SECONDS", 0.01)
    engine = engine_of(migrated)
    with engine.connect(), pytest.raises(sqlalchemy.exc.TimeoutError) as busy:
        engine.connect()
    assert reason_of(busy.value) == (Unavailable, "DATABASE_BUSY")
    engine.dispose()


def test_a_statement_that_takes_too_long_is_deadline_exceeded(migrated: str) -> None:
    slow = failure(migrated, "SET LOCAL statement_timeout = '5ms'; SELECT pg_sleep(10)")
    assert isinstance(slow, DeadlineExceeded)


def bounded(url: str, seconds: float) -> sqlalchemy.Engine:
    return create_engine(url, schema="red", pool_size=1, application_name="a test", statement_seconds=seconds)


def within(seconds: float) -> Context:
    """A context in which a caller waits so long."""
    context = Context()
    context.run(deadlines.set_remaining, seconds)
    return context


def timeout_of(engine: sqlalchemy.Engine) -> int:
    """Milliseconds; 0 is without end."""
    with engine.begin() as connection:
        found = connection.scalar(
            text("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")
        )
    assert isinstance(found, int)
    return found


def test_statements_end_at_the_maximum_or_when_the_caller_is_gone(migrated: str) -> None:
    engine = bounded(migrated, 20)
    assert timeout_of(engine) == 20_000
    assert within(float("inf")).run(timeout_of, engine) == 20_000
    assert 4_000 < within(5).run(timeout_of, engine) <= 5_000
    assert timeout_of(engine) == 20_000, "one caller's deadline is not the next one's"
    engine.dispose()


@pytest.mark.parametrize("seconds", [0.01, 0.0])
def test_a_caller_that_is_gone_stops_the_statement(migrated: str, seconds: float) -> None:
    def sleep() -> None:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_sleep(20)"))

    engine = bounded(migrated, 20)
    with pytest.raises(sqlalchemy.exc.OperationalError) as stopped:
        within(seconds).run(sleep)
    assert reason_of(stopped.value) == (DeadlineExceeded, "QUERY_TIMEOUT")
    engine.dispose()


def test_no_bound_outlives_its_transaction(migrated: str) -> None:
    engine = bounded(migrated, 20)
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "20s"
        connection.rollback()
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        assert driver.execute("SHOW statement_timeout").fetchone() == ("0",)
    engine.dispose()


def test_an_engine_without_a_bound_has_none(migrated: str) -> None:
    engine = engine_of(migrated)
    assert within(5).run(timeout_of, engine) == 0
    engine.dispose()


def test_a_database_that_answers_too_late_is_not_reachable(
    migrated: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_of(migrated)
    assert is_reachable(engine)
    monkeypatch.setattr("shared.database._REACHABLE", "SELECT pg_sleep(20)")
    monkeypatch.setattr("shared.database._REACHABLE_MILLISECONDS", 10)
    assert not is_reachable(engine)
    engine.dispose()


def test_full_temporary_files_are_told_like_a_full_disk(migrated: str) -> None:
    spill = """
        SET LOCAL temp_file_limit = '64kB'; SET LOCAL work_mem = '64kB';
        SELECT count(*) FROM (SELECT n FROM generate_series(1, 100000) AS n ORDER BY -n OFFSET 1) AS sorted
    """
    full = failure(migrated, spill)
    assert isinstance(full, ResourceExhausted)
    assert full.reason == "DISK_FULL"
    assert full.retry_seconds, "exporters of OpenTelemetry drop what they are not asked to send again"


def test_a_lock_not_granted_in_time_is_aborted(migrated: str) -> None:
    holder = engine_of(migrated)
    with holder.begin() as connection:
        connection.execute(text("LOCK TABLE things"))
        waited = failure(migrated, "SET LOCAL lock_timeout = '5ms'; LOCK TABLE things")
    holder.dispose()
    assert isinstance(waited, Aborted)


def test_a_deadlock_is_aborted(migrated: str) -> None:
    outcomes: list[ServiceError | None] = []
    both_hold_one = threading.Barrier(2, timeout=10)

    def lock_both(first: int, second: int) -> None:
        engine = engine_of(migrated)
        try:
            with engine.begin() as connection:
                connection.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": first})
                both_hold_one.wait()
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": second})
        except sqlalchemy.exc.OperationalError as error:
            outcomes.append(translate(error))
        finally:
            engine.dispose()

    threads = [threading.Thread(target=lock_both, args=keys) for keys in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [type(outcome) for outcome in outcomes] == [Aborted]


def test_faults_of_our_own_sql_are_no_business_of_the_caller(migrated: str) -> None:
    assert failure(migrated, "SELECT nonsense") is None
    assert failure(migrated, "SELECT 1 / 0") is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.AdminShutdown(), (Unavailable, "DATABASE_UNAVAILABLE")),
        (psycopg.errors.CannotConnectNow(), (Unavailable, "DATABASE_UNAVAILABLE")),
        (psycopg.errors.TooManyConnections(), (Unavailable, "DATABASE_UNAVAILABLE")),
        (psycopg.errors.ReadOnlySqlTransaction(), (Unavailable, "DATABASE_UNAVAILABLE")),
        (psycopg.errors.IdleInTransactionSessionTimeout(), (Unavailable, "DATABASE_UNAVAILABLE")),
        (psycopg.InterfaceError("the connection is closed"), (Unavailable, "DATABASE_UNAVAILABLE")),
        (psycopg.errors.DiskFull(), (ResourceExhausted, "DISK_FULL")),
        (psycopg.errors.SerializationFailure(), (Unavailable, "STANDBY_CONFLICT")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_errors_that_no_test_can_cause_quickly(
    error: psycopg.Error, expected: tuple[type[ServiceError], str]
) -> None:
    assert reason_of(error) == expected


def test_other_exceptions_are_not_translated() -> None:
    assert translate(ValueError("bad")) is None
    assert translate(FailedPrecondition("no", "NO")) is None
    assert translate(psycopg.errors.UniqueViolation()) is None
    assert translate(psycopg.ProgrammingError("the query has 0 placeholders")) is None


def reason_of(error: Exception) -> tuple[type[ServiceError], str] | None:
    found = translate(error)
    return (type(found), found.reason) if found else None
