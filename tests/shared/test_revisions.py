"""A schema and the code that uses it need not be of one release; what cannot work is refused and said."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import text

from shared import migrations, revisions
from shared.database import create_engine, is_reachable, open_engine
from shared.errors import Unavailable
from tests.shared.conftest import minimal_settings
from tests.shared.throwaway_service.config import ThrowawaySettings
from tests.waiting import until

PACKAGE = "tests.shared.throwaway_service"
LOGGERS = ("shared.migrations", "shared.revisions")


@pytest.fixture
def migrated(empty_database: str) -> str:
    migrations.upgrade(empty_database, "red", PACKAGE)
    return empty_database


@pytest.fixture
def service(migrated: str) -> Iterator[sqlalchemy.Engine]:
    """What the service opens at its start; it connects when it is used."""
    chosen = minimal_settings() | {"database_url": migrated, "database_schema": "red", "auth": "off"}
    with ExitStack() as opened:
        yield open_engine(ThrowawaySettings.model_validate(chosen), 1, opened)


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url, schema="red", pool_size=1, application_name="a test")
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_service_waits_for_its_migrations_and_says_so(
    migrated: str, service: sqlalchemy.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    execute(
        migrated, "ALTER TABLE things DROP COLUMN count", "UPDATE alembic_version SET version_num = '0001'"
    )
    with caplog.at_level(logging.INFO, "shared.revisions"):
        for _ in range(3):
            with pytest.raises(Unavailable, match=rf"at revision 0001.* needs 0002.* -m {PACKAGE} migrate"):
                service.connect()
            assert not is_reachable(service)
    assert [each.message for each in caplog.records] == ["schema and code differ"]
    migrations.upgrade(migrated, "red", PACKAGE)
    assert is_reachable(service)


def test_a_schema_without_any_revision_is_refused(migrated: str, service: sqlalchemy.Engine) -> None:
    execute(migrated, "DROP TABLE alembic_version")
    with pytest.raises(Unavailable, match="at revision none"):
        service.connect()


def test_code_serves_on_a_newer_schema_and_leaves_it_alone(
    migrated: str, service: sqlalchemy.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    execute(migrated, "UPDATE alembic_version SET version_num = '0900'")
    with caplog.at_level(logging.INFO, "shared"):
        for _ in range(2):
            with service.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM things")) == 0
            service.dispose()
        migrations.upgrade(migrated, "red", PACKAGE)
    told = [each.message for each in caplog.records if each.name in LOGGERS]
    assert told == ["schema and code differ", "the schema is newer"]
    with service.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "0900"


def test_a_migration_holds_up_nobody_while_it_waits_for_a_table(
    migrated: str, caplog: pytest.LogCaptureFixture
) -> None:
    execute(
        migrated, "ALTER TABLE things DROP COLUMN count", "UPDATE alembic_version SET version_num = '0001'"
    )
    reading = "SET lock_timeout = '10s'; SELECT name FROM red.things"
    with psycopg.connect(migrated) as long_query, ThreadPoolExecutor(1) as pool:
        long_query.execute(reading)  # its transaction stays open
        with caplog.at_level(logging.INFO, "shared.migrations"):
            migration = pool.submit(migrations.upgrade, migrated, "red", PACKAGE)
            until(lambda: bool(caplog.records))
            with psycopg.connect(migrated) as another:
                another.execute(reading)  # behind a migration that never lets go it would end in an error
        assert not migration.done()
        long_query.rollback()
        migration.result()
    execute(migrated, "SELECT count FROM things")


def test_files_are_named_after_what_they_know() -> None:
    assert revisions.newest(PACKAGE) == "0002"


def test_what_is_at_the_newest_revision_needs_no_migration(empty_database: str) -> None:
    assert not revisions.is_newest(empty_database, PACKAGE)
    migrations.upgrade(empty_database, "red", PACKAGE)
    assert revisions.is_newest(empty_database, PACKAGE)
    for other in ("0001", "9999"):
        execute(empty_database, f"UPDATE alembic_version SET version_num = '{other}'")
        assert not revisions.is_newest(empty_database, PACKAGE)
