"""Each service's schema, brought up to date by Alembic without an alembic.ini.

A service keeps its revisions in `services/<name>/migrations/versions/`; its `env.py` is
`from shared import migrations` and `migrations.run()`. Its first revision makes `audit_entries`, in which
each revision is recorded.
"""

import logging
import time

import alembic.command
import psycopg
import sqlalchemy
from alembic import context
from alembic.config import Config
from alembic.runtime.migration import MigrationContext, MigrationInfo
from psycopg import sql
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from shared import audit, revisions
from shared.audit import AuditEntry
from shared.database import database_url

_log = logging.getLogger(__name__)

_CONNECTION = "connection"
_SCHEMA = "schema"
# Who waits for a table holds up everybody who comes after: better to let them pass and try again.
_LOCK_SECONDS = 2.0
_ATTEMPTS = 30


class MigrationRefusedError(Exception):
    """The role may not be used for this schema; the message says why."""


def upgrade(url: str, schema: str, package: str) -> None:
    """Bring the schema of `package` (e.g. "services.events") to its newest revision, in one transaction.

    Creates the schema if missing (the role then needs CREATE on the database) and makes it the role's only
    search_path in this database, so that each service has a role of its own. Any number of processes may
    call this at once, and again, while the service runs too: a table that is not free within two seconds is
    let go of and tried again a second later, for a minute and a half. A schema that is newer than this code
    is left as it is. Raises MigrationRefusedError if the role belongs to another schema.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _upgrade(url, schema, package)
        except OperationalError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable) or attempt == _ATTEMPTS:
                raise
            _log.info("a table is in use: migrating again", extra={"schema": schema, "attempt": attempt})
            time.sleep(1.0)
        else:
            return


def _upgrade(url: str, schema: str, package: str) -> None:
    engine = sqlalchemy.create_engine(database_url(url), poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        # For the transaction alone: a session's lock would stay behind on a connection of PgBouncer.
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended('migrations of ' || :schema, 0))")
        connection.execute(lock, {"schema": schema})
        _bind_role(connection, schema)
        _create_schema(connection, schema)
        held, known = _held(connection), revisions.newest(package)
        if held is not None and held > known:
            _log.warning("the schema is newer", extra={"schema": schema, "revision": held, "known": known})
            return
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        config = Config(attributes={_CONNECTION: connection, _SCHEMA: schema})
        config.set_main_option("script_location", f"{package}:migrations")
        alembic.command.upgrade(config, "head")


def run() -> None:
    """Run the revisions `upgrade` asked for. To be called by a service's `migrations/env.py` alone."""
    attributes = context.config.attributes
    schema = attributes[_SCHEMA]

    def record(ctx: MigrationContext, step: MigrationInfo, heads: object, run_args: object) -> None:  # noqa: ARG001
        """Record a revision; the names are those Alembic calls it with."""
        change = AuditEntry(
            audit.operator(), "migrate", f"schema {schema}", {"revision": step.up_revision_id}
        )
        audit.record(attributes[_CONNECTION], change)

    context.configure(
        connection=attributes[_CONNECTION], version_table_schema=schema, on_version_apply=record
    )
    with context.begin_transaction():
        context.run_migrations()


def _held(connection: Connection) -> str | None:
    if connection.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    held: str | None = connection.scalar(text("SELECT max(version_num) FROM alembic_version"))
    return held


def _create_schema(connection: Connection, schema: str) -> None:
    # CREATE SCHEMA IF NOT EXISTS would ask for CREATE on the database even where the schema is there.
    if not connection.scalar(text("SELECT to_regnamespace(quote_ident(:schema))"), {"schema": schema}):
        connection.exec_driver_sql(_with_name("CREATE SCHEMA {}", schema))


def _bind_role(connection: Connection, schema: str) -> None:
    bound = connection.scalars(
        text("""
            SELECT substr(setting, length('search_path=') + 1)
            FROM pg_db_role_setting, unnest(setconfig) AS setting
            WHERE setrole = session_user::regrole AND setting LIKE 'search\\_path=%'
              AND setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
            ORDER BY setdatabase DESC
        """)
    ).first()
    if bound is None:
        database = connection.scalar(text("SELECT current_database()"))
        bind = sql.SQL("ALTER ROLE SESSION_USER IN DATABASE {} SET search_path = {}")
        connection.exec_driver_sql(bind.format(sql.Identifier(database), sql.Identifier(schema)).as_string())
    elif bound.strip('"') != schema:
        raise MigrationRefusedError(
            f"the role of this URL has search_path {bound}, so it belongs to another schema than {schema}: "
            "give each service a role of its own"
        )
    # What ALTER ROLE set counts from the next connection on. Not SET LOCAL: under PgBouncer this connection
    # goes on to serve others.
    connection.exec_driver_sql(_with_name("SET search_path = {}", schema))


def _with_name(statement: str, name: str) -> str:
    return sql.SQL(statement).format(sql.Identifier(name)).as_string()
