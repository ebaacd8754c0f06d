"""Which revision of its schema a service's code needs, and which one a database is at.

`services/<name>/migrations/versions/0003_sessions.py` is revision 0003; they follow one another. Told by the
names of these files: Alembic would take 0.3 s of every start.
"""

import functools
import importlib.resources
import logging
import re
from typing import TYPE_CHECKING, Any

import psycopg

from shared.errors import Unavailable

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection

_log = logging.getLogger(__name__)

_FILE = re.compile(r"(\d{4})_\w+\.py")
_HELD = "SELECT max(version_num) FROM alembic_version"


@functools.cache
def newest(package: str) -> str:
    """Return the newest revision that the code of e.g. "services.events" knows."""
    files = importlib.resources.files(package) / "migrations" / "versions"
    return max(found[1] for each in files.iterdir() if (found := _FILE.fullmatch(each.name)))


def is_newest(url: str, package: str) -> bool:
    """Return whether the schema that this role uses in this database is at the newest revision exactly."""
    with psycopg.connect(url) as connection:
        return _held(connection) == newest(package)


def refuse_older(package: str, connection: "DBAPIConnection") -> None:
    """Raise Unavailable (DATABASE_NOT_MIGRATED) where a schema is older than the code on this connection.

    One that is newer serves: every migration leaves in place what the code before it needs, so that a
    release can be taken back without its migrations.
    """
    needed, held = newest(package), _held(connection)
    if held is None or held < needed:
        problem = (
            f"the schema is at revision {held or 'none'}, and this code needs {needed}: "
            f"run `python -m {package} migrate`"
        )
        _tell(logging.WARNING, problem, package)
        raise Unavailable(problem, "DATABASE_NOT_MIGRATED")
    if held > needed:
        _tell(logging.INFO, f"the schema is at revision {held}, newer than this code's {needed}", package)


def _held(connection: "DBAPIConnection | psycopg.Connection[tuple[Any, ...]]") -> str | None:
    cursor = connection.cursor()
    try:
        cursor.execute(_HELD)
        row: tuple[str | None] | None = cursor.fetchone()
    except psycopg.errors.UndefinedTable:
        return None
    else:
        return row[0] if row else None
    finally:
        cursor.close()
        connection.rollback()


@functools.cache
def _tell(level: int, problem: str, package: str) -> None:
    """Say it once in the life of a process, not for every connection."""
    _log.log(level, "schema and code differ", extra={"package": package, "how": problem})
