"""deploy/database/roles.sql gives each service its own schema and nothing else."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import make_url

import deploy.postgres
from deploy import children, data_directories, secret_files
from deploy.postgres import EmbeddedPostgres
from shared import migrations
from tests.deploy.images.dockerfile import CHECKOUT

SCRIPT = CHECKOUT / "deploy" / "database" / "roles.sql"
SERVICES = secret_files.SERVICES
DATABASE = "brain"


@pytest.fixture(scope="module")
def server(scratch_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server of its own: roles are those of a whole server."""
    server = deploy.postgres.start(scratch_directory / "roles", durable=False)
    server.create_database(DATABASE)
    secrets = server.data_directory / "secrets"
    secret_files.make(secrets, f"localhost:5432/{DATABASE}")
    give_to_postgres(secrets)
    command = [
        str(data_directories.binaries() / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1",
        f"--file={SCRIPT}", server.url(DATABASE),
    ]  # fmt: skip
    subprocess.run(command, check=True, env={"PGOPTIONS": f"-c brain.secrets={secrets}"})
    yield server
    server.close()
    shutil.rmtree(server.data_directory)


def give_to_postgres(directory: Path) -> None:
    """As a container's mounts are, to whoever runs the server."""
    account = children.unprivileged_account()
    if account is not None:
        for path in (directory, *directory.iterdir()):
            shutil.chown(path, account.uid, account.gid)


def url_of(server: EmbeddedPostgres, service: str, database: str = DATABASE) -> str:
    """Return where a service connects: with its role and password, as it is told, to this server."""
    lines = (server.data_directory / "secrets" / f"{service}.env").read_text().splitlines()
    [told] = [line.partition("=")[2] for line in lines if line.startswith(f"{service.upper()}_DATABASE_URL=")]
    login = make_url(told)
    here = make_url(server.url(database)).set(username=login.username, password=login.password)
    return here.render_as_string(hide_password=False)


def connect(
    server: EmbeddedPostgres, service: str, database: str = DATABASE
) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(url_of(server, service, database), autocommit=True)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_owns_its_schema_and_sees_no_other(server: EmbeddedPostgres, service: str) -> None:
    with connect(server, service) as connection:
        assert connection.execute("SELECT current_schemas(false)").fetchone() == ([service],)
        owned = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE has_schema_privilege(oid, 'CREATE, USAGE')"
            " AND nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"
        ).fetchall()
        assert owned == [(service,)]


@pytest.mark.parametrize(
    "forbidden",
    [
        "CREATE TABLE public.mine (a int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "SELECT * FROM events.users",
        "SELECT pg_read_file('/etc/passwd')",
        "ALTER ROLE events PASSWORD 'known'",
        "COPY (SELECT 1) TO PROGRAM 'cat'",
    ],
)
def test_what_a_service_may_not_do(server: EmbeddedPostgres, forbidden: LiteralString) -> None:
    with connect(server, "alerts") as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(forbidden)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_other_databases_are_closed(server: EmbeddedPostgres, database: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(server, "events", database)


@pytest.mark.parametrize("service", SERVICES)
def test_these_rights_suffice_to_migrate(server: EmbeddedPostgres, service: str) -> None:
    migrations.upgrade(url_of(server, service), service, f"services.{service}")
    with connect(server, service) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM audit_entries").fetchone() == (True,)
