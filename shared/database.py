"""Connections to PostgreSQL, and what its errors mean to a caller.

SQL names its tables unqualified; the role's own `search_path`, set by `shared.migrations.upgrade`, is the
service's schema and nothing else. A property of the role rather than of the connection: PgBouncer in
transaction mode hands every transaction to a different connection, and refuses start-up options.
"""

import select
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import psycopg
import sqlalchemy
from prometheus_client import Gauge
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from shared import bounded_connection
from shared.deadlines import remaining_seconds
from shared.errors import Aborted, DeadlineExceeded, ResourceExhausted, ServiceError, Unavailable
from shared.revisions import refuse_older

if TYPE_CHECKING:
    from contextlib import ExitStack

    from prometheus_client import CollectorRegistry

    from shared.config import ServiceSettings

POOL_TIMEOUT_SECONDS: Final = 5
CONNECT_TIMEOUT_SECONDS: Final = 5

_REACHABLE: Final = "SELECT 1"
_REACHABLE_MILLISECONDS: Final = 2_000
# A connection that was in use so lately is taken to work.
_TRUSTED_SECONDS: Final = 1.0
_USED: Final = "monotonic time of the last use"

_CONNECTION: Final = {
    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
    "prepare_threshold": None,  # a prepared statement lives on one server connection, PgBouncer has many
    # A peer that vanished without a word is noticed in about 15 s, not in the two hours of the default.
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,  # milliseconds
}


def database_url(url: str) -> sqlalchemy.URL:
    """Return an operator's `postgresql://` URL with the driver used here."""
    return sqlalchemy.make_url(url).set(drivername="postgresql+psycopg")


def create_engine(
    url: str, *, schema: str, pool_size: int, application_name: str, statement_seconds: float | None = None
) -> sqlalchemy.Engine:
    """Return an engine of at most `pool_size` connections; it connects on first use.

    With `statement_seconds` each statement ends with DeadlineExceeded (QUERY_TIMEOUT) after that time, or
    after what was left to the caller of this thread's call when its transaction began, if that is less.

    A connection whose search_path is not exactly `schema` is refused with Unavailable
    (DATABASE_NOT_MIGRATED): its SQL would reach another service's tables. `url` starts with postgresql://.
    """
    engine = sqlalchemy.create_engine(
        database_url(url),
        poolclass=bounded_connection.BoundedPool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_SECONDS,
        hide_parameters=True,  # or errors quote what people sent, and logs hold them
        connect_args={**_CONNECTION, "application_name": application_name},
    )

    event.listen(engine, "do_connect", bounded_connection.connect)
    event.listen(engine, "connect", partial(_refuse_other_schemas, schema))
    event.listen(engine, "checkin", _remember_use)
    event.listen(engine, "checkout", _replace_if_dead)
    if statement_seconds is not None:
        event.listen(engine, "begin", partial(_bound_statements, statement_seconds))
    return engine


def open_engine(
    settings: "ServiceSettings",
    pool_size: int,
    opened: "ExitStack",
    statement_seconds: float | None = None,
    url: str | None = None,
) -> sqlalchemy.Engine:
    """Return `create_engine` of a service's database, or of its copy at `url`; `opened` closes it.

    A connection to a schema that is older than the service's code is refused with Unavailable.
    """
    engine = create_engine(
        url or settings.database_url,
        schema=settings.database_schema,
        pool_size=pool_size,
        application_name=f"brain-{settings.database_schema}",
        statement_seconds=statement_seconds,
    )
    event.listen(engine, "connect", lambda connection, _entry: refuse_older(settings.package, connection))
    opened.callback(engine.dispose)
    return engine


def expose_pools(registry: "CollectorRegistry", engines: Mapping[str, sqlalchemy.Engine]) -> None:
    """Tell how many connections of each pool, by its name, are in use, and how many there may be."""
    used = Gauge("database_connections_in_use", "Connections lent out.", ("pool",), registry=registry)
    limit = Gauge("database_connections_limit", "Connections there may be.", ("pool",), registry=registry)
    for name, engine in engines.items():
        pool = engine.pool
        assert isinstance(pool, sqlalchemy.QueuePool)
        used.labels(name).set_function(pool.checkedout)
        limit.labels(name).set(pool.size())


def _remember_use(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    entry.info[_USED] = time.monotonic()


def _replace_if_dead(connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
    """Ask PostgreSQL whether a connection works, unless it did just now and nothing came in since.

    Asking each time would take a twentieth of a read. Whoever ends a connection sends something first. One
    that is dead though it was made just now is no old one to replace: then the database is away.
    """
    last_use = entry.info.get(_USED)
    was_used = last_use is not None and time.monotonic() - last_use < _TRUSTED_SECONDS
    if was_used and not _has_unread(connection):
        return
    try:
        cursor = connection.cursor()
        cursor.execute(_REACHABLE)
        cursor.close()
        connection.rollback()
    except psycopg.Error as error:
        if last_use is None and (known := translate(error)) is not None:
            raise known from error
        raise DisconnectionError from error


def _has_unread(connection: DBAPIConnection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def _refuse_other_schemas(schema: str, connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    cursor.execute("SELECT current_schemas(false)")
    [reached] = cursor.fetchone() or [None]
    cursor.close()
    connection.rollback()
    if reached != [schema]:
        raise Unavailable(
            f"the database role reaches the schemas {reached}, not {schema} alone: run its migrations",
            "DATABASE_NOT_MIGRATED",
        )


def _bound_statements(maximum_seconds: float, connection: sqlalchemy.Connection) -> None:
    """Bound the statements of a transaction, and no others: PgBouncer lends its connection to others next."""
    seconds = min(maximum_seconds, remaining_seconds())
    milliseconds = max(1, round(seconds * 1_000))  # 0 would be without end
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")


def is_reachable(engine: sqlalchemy.Engine) -> bool:
    """Return whether a statement can be run now, within two seconds."""
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_REACHABLE_MILLISECONDS}")
            connection.exec_driver_sql(_REACHABLE)
    except (sqlalchemy.exc.SQLAlchemyError, psycopg.Error, ServiceError):
        return False
    return True


def translate(error: Exception) -> ServiceError | None:
    """Return what a database error is to a caller, or None if it is a fault of ours (or none of a database).

    Takes the errors of SQLAlchemy and psycopg alike.
    """
    if isinstance(error, sqlalchemy.exc.TimeoutError):
        return Unavailable("no database connection became free in time", "DATABASE_BUSY")
    if isinstance(error, DBAPIError) and isinstance(error.orig, psycopg.Error):
        error = error.orig
    if not isinstance(error, psycopg.Error):
        return None
    if error.sqlstate is None:
        return _of_connection(error)
    return _of_sqlstate(error.sqlstate)


def _of_connection(error: psycopg.Error) -> ServiceError | None:
    """Errors of the driver itself carry no SQLSTATE: lost, refused and closed connections among them."""
    if isinstance(error, psycopg.OperationalError) or "connection is closed" in str(error):
        return Unavailable("the database is away", "DATABASE_UNAVAILABLE")
    return None


def _of_sqlstate(sqlstate: str) -> ServiceError | None:
    """See https://www.postgresql.org/docs/current/errcodes-appendix.html."""
    match sqlstate[:2], sqlstate:
        case "53", "53100" | "53400":
            # With a time, for exporters of OpenTelemetry drop what they are not asked to send again.
            return ResourceExhausted("the database has no disk space left", "DISK_FULL", retry_seconds=10)
        case "57", "57014":
            return DeadlineExceeded("the database took too long", "QUERY_TIMEOUT")
        # 08 connection lost · 53 too many connections, no memory · 57P shutdown, crash, start-up
        # 25006 a standby after a fail-over · 25P03, 25P04 ended for idling
        case ("08" | "53" | "57", _) | ("25", "25006" | "25P03" | "25P04"):
            return Unavailable("the database is away", "DATABASE_UNAVAILABLE")
        # On a standby: what it is to replay takes away what the statement reads. No call of ours runs into
        # it on a primary, where nothing that writes for a caller is more than READ COMMITTED.
        case "40", "40001":
            return Unavailable("the standby had to give the answer up: ask again", "STANDBY_CONFLICT")
        case ("40", _) | ("55", "55P03"):
            return Aborted("a concurrent change came first", "CONFLICT")
        case _:
            return None


@contextmanager
def driver_cursor(connection: sqlalchemy.Connection) -> Iterator[psycopg.Cursor[tuple[Any, ...]]]:
    """Yield psycopg's own cursor inside the connection's transaction: for COPY, and for results in binary.

    Megabytes of bytea arrive undecoded; in text they would come as twice the size in hexadecimals. Errors are
    psycopg's, which `translate` knows as well.
    """
    driver = connection.connection.driver_connection
    if not isinstance(driver, psycopg.Connection):
        raise TypeError("the engine must use psycopg")
    try:
        with driver.cursor(binary=True) as cursor:
            yield cursor
    finally:
        if driver.closed:  # SQLAlchemy did not see it break
            connection.invalidate()
