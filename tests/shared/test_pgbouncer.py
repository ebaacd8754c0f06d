"""The suite's connections through Debian's PgBouncer in transaction mode."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import text

from deploy.postgres import EmbeddedPostgres
from shared import migrations
from shared.database import create_engine
from tests.pgbouncer import before

pytestmark = pytest.mark.peers

PACKAGE = "tests.shared.throwaway_service"


@pytest.fixture
def pgbouncer(postgres: EmbeddedPostgres, scratch_directory: Path) -> Iterator[int]:
    """The port of a PgBouncer before the server, as Debian packages it."""
    with before(postgres, scratch_directory, ("red", "blue")) as port:
        yield port


def bounced(postgres: EmbeddedPostgres, empty_database: str, port: int, role: str) -> str:
    """The URL, through PgBouncer, of a role with a schema of its own."""
    database = sqlalchemy.make_url(empty_database).database
    assert database
    postgres.create_schema(database, role)
    return f"postgresql://{role}@127.0.0.1:{port}/{database}"


def test_every_server_connection_reaches_the_schema_of_the_role_alone(
    postgres: EmbeddedPostgres, empty_database: str, pgbouncer: int
) -> None:
    for role in ("red", "blue"):
        url = bounced(postgres, empty_database, pgbouncer, role)
        migrations.upgrade(url, role, PACKAGE)
        engine = create_engine(url, schema=role, pool_size=3, application_name="a test")
        with ExitStack() as stack:
            transactions = [stack.enter_context(engine.begin()) for _ in range(3)]
            reached = [
                tuple(one.execute(text("SELECT pg_backend_pid(), current_schemas(false)")).one())
                for one in transactions
            ]
        assert len({back_end for back_end, _ in reached}) == 3
        assert [schemas for _, schemas in reached] == [[role]] * 3
        engine.dispose()


def test_a_repeated_statement_works_whichever_connection_runs_it(
    postgres: EmbeddedPostgres, empty_database: str, pgbouncer: int
) -> None:
    url = bounced(postgres, empty_database, pgbouncer, "red")
    migrations.upgrade(url, "red", PACKAGE)
    engine = create_engine(url, schema="red", pool_size=2, application_name="a test")
    add = text("INSERT INTO things (name) VALUES (:name) RETURNING pg_backend_pid()")
    with engine.connect() as one, engine.connect() as other:
        for number in range(10):
            first = one.scalar(add, {"name": str(number)})
            one.commit()
        # While another transaction holds the server connection used so far, the next one is another.
        assert other.scalar(text("SELECT pg_backend_pid()")) == first
        assert one.scalar(add, {"name": "10"}) != first
    engine.dispose()


def test_a_bound_stays_behind_on_no_server_connection(
    postgres: EmbeddedPostgres, empty_database: str, pgbouncer: int
) -> None:
    url = bounced(postgres, empty_database, pgbouncer, "red")
    migrations.upgrade(url, "red", PACKAGE)
    engines = [
        create_engine(url, schema="red", pool_size=1, application_name="a test", statement_seconds=seconds)
        for seconds in (20, None)
    ]
    show = text("SELECT pg_backend_pid(), current_setting('statement_timeout')")
    found = []
    for engine in engines:
        with engine.begin() as connection:
            found.append(tuple(connection.execute(show).one()))
        engine.dispose()
    (first, bound), (second, free) = found
    assert (first, bound, free) == (second, "20s", "0")


def test_no_lock_of_a_migration_stays_behind(
    postgres: EmbeddedPostgres, empty_database: str, pgbouncer: int
) -> None:
    url = bounced(postgres, empty_database, pgbouncer, "red")
    migrations.upgrade(url, "red", PACKAGE)
    with psycopg.connect(empty_database) as connection:
        held = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'").fetchone()
    assert held == (0,)
