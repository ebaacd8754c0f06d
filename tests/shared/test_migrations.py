"""Migrations of a made-up service with two revisions, on a real server."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
from sqlalchemy import text

from deploy.postgres import EmbeddedPostgres
from shared import migrations
from shared.database import database_url

PACKAGE = "tests.shared.throwaway_service"


def role_url(postgres: EmbeddedPostgres, empty_database: str, role: str) -> str:
    """A URL of the same database for a role that owns a schema of its own name."""
    database = sqlalchemy.make_url(empty_database).database
    assert database
    postgres.create_schema(database, role)
    return postgres.url(database, role)


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    engine = sqlalchemy.create_engine(database_url(url), poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


TABLES = (
    "SELECT table_schema, table_name FROM information_schema.tables WHERE table_schema IN ('red', 'public')"
)
MADE = [("red", "alembic_version"), ("red", "audit_entries"), ("red", "things")]
RECORDED = "SELECT action, subject, details ->> 'revision' FROM red.audit_entries ORDER BY entry_id"


def test_upgrade_creates_the_schema_with_its_version_table_inside(empty_database: str) -> None:
    migrations.upgrade(empty_database, "red", PACKAGE)
    assert sorted(rows(empty_database, TABLES)) == MADE
    assert rows(empty_database, "SELECT version_num FROM red.alembic_version") == [("0002",)]


def test_upgrade_twice_changes_nothing(empty_database: str) -> None:
    migrations.upgrade(empty_database, "red", PACKAGE)
    rows(empty_database, "SELECT * FROM red.things")
    migrations.upgrade(empty_database, "red", PACKAGE)
    assert sorted(rows(empty_database, TABLES)) == MADE


def test_an_operator_without_a_name_is_recorded_as_a_number(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 987_654_321)
    migrations.upgrade(empty_database, "red", PACKAGE)
    assert set(rows(empty_database, "SELECT actor FROM red.audit_entries")) == {("uid 987654321",)}


def test_each_revision_is_recorded_once(empty_database: str) -> None:
    migrations.upgrade(empty_database, "red", PACKAGE)
    migrations.upgrade(empty_database, "red", PACKAGE)
    assert rows(empty_database, RECORDED) == [
        ("migrate", "schema red", "0001"),
        ("migrate", "schema red", "0002"),
    ]


def test_new_connections_of_the_role_reach_its_schema_alone(
    postgres: EmbeddedPostgres, empty_database: str
) -> None:
    url = role_url(postgres, empty_database, "red")
    migrations.upgrade(url, "red", PACKAGE)
    assert rows(url, "SELECT current_schemas(false)") == [(["red"],)]
    assert rows(url, "SELECT count(*) FROM things") == [(0,)]


def test_two_schemas_in_one_database_know_nothing_of_each_other(
    postgres: EmbeddedPostgres, empty_database: str
) -> None:
    red, blue = (role_url(postgres, empty_database, name) for name in ("red", "blue"))
    migrations.upgrade(red, "red", PACKAGE)
    migrations.upgrade(blue, "blue", PACKAGE)
    assert rows(red, "SELECT to_regclass('things')::oid = to_regclass('red.things')::oid") == [(True,)]
    assert rows(blue, "SELECT to_regclass('things')::oid = to_regclass('blue.things')::oid") == [(True,)]
    with pytest.raises(sqlalchemy.exc.ProgrammingError, match="permission denied for schema red"):
        rows(blue, "SELECT * FROM red.things")


def test_a_role_serves_one_schema_only(postgres: EmbeddedPostgres, empty_database: str) -> None:
    url = role_url(postgres, empty_database, "red")
    migrations.upgrade(url, "red", PACKAGE)
    with pytest.raises(migrations.MigrationRefusedError, match="role of its own"):
        migrations.upgrade(url, "red_two", PACKAGE)
    assert rows(url, "SELECT current_schemas(false)") == [(["red"],)]


def test_a_reserved_word_may_name_a_schema(empty_database: str) -> None:
    for _ in range(2):
        migrations.upgrade(empty_database, "user", PACKAGE)
    assert rows(empty_database, "SELECT current_schemas(false)") == [(["user"],)]


def test_a_schema_that_exists_needs_no_right_to_create_one(
    postgres: EmbeddedPostgres, empty_database: str
) -> None:
    url = role_url(postgres, empty_database, "red")
    assert rows(url, "SELECT has_database_privilege(current_database(), 'CREATE')") == [(False,)]
    migrations.upgrade(url, "red", PACKAGE)


def test_replicas_that_start_together_migrate_once(empty_database: str) -> None:
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        running = [pool.submit(upgrade_in_a_process, empty_database) for pool in (one, other)]
        assert [future.result() for future in running] == [0, 0]
    assert rows(empty_database, "SELECT version_num FROM red.alembic_version") == [("0002",)]


def upgrade_in_a_process(url: str) -> int:
    """Alembic keeps its context in module variables, so replicas are processes here too."""

    call = f"from shared import migrations; migrations.upgrade({url!r}, 'red', {PACKAGE!r})"
    return subprocess.run([sys.executable, "-c", call], check=False).returncode
