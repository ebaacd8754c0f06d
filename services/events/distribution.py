"""Events spread over the workers of Citus by user key: the command that does it, and statements in two forms.

Citus sends a statement to the shards of `events` and puts the answers together. It refuses some that
PostgreSQL runs quickest, a look into an index for each row of a list above all. Those have a second form, a
plain join, used where the events are distributed.
"""

import argparse
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from shared.audit import AuditEntry, operator, record
from shared.database import open_engine
from shared.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

    from services.events.config import EventsSettings

_SPREAD: Final = "events_are_distributed"

# Citus keeps its catalog in pg_catalog; without the extension there is no such table.
_HAS_CITUS = text("SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL")
_IS_DISTRIBUTED = text(
    "SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = 'events'::regclass)"
)

_SERVING = text("""
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = :name
  AND pid <> pg_backend_pid()
""")

_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '5s'"
# Partitions go along, those attached later too. 32 shards unless citus.shard_count says otherwise.
_DISTRIBUTE = "SELECT create_distributed_table('events', 'user_key', colocate_with => 'none')"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement for a table that is here, and one to the same end for a table spread over workers."""

    here: str
    spread: str

    def of(self, connection: "Connection | Engine") -> str:
        """Return the form for the database of a connection."""
        return self.spread if is_spread(connection) else self.here


def is_spread(connection: "Connection | Engine") -> bool:
    """Tell whether `note_distribution` found the events of this connection's engine distributed."""
    return bool(connection.get_execution_options().get(_SPREAD, False))


def note_distribution(found: bool, *engines: "Engine") -> None:  # noqa: FBT001 - what `is_distributed` says
    """Let the statements of some engines have the form that fits."""
    for engine in engines:
        engine.update_execution_options(**{_SPREAD: found})


def is_distributed(connection: "Connection") -> bool:
    """Ask the database whether events are distributed."""
    return bool(connection.scalar(_HAS_CITUS)) and bool(connection.scalar(_IS_DISTRIBUTED))


def command(settings: "EventsSettings", words: "Sequence[str]") -> None:
    """Do what `python -m services.events distribute` is for; `--dry-run` prints the SQL alone."""
    options = argparse.ArgumentParser(prog="python -m services.events distribute")
    options.add_argument("--dry-run", action="store_true", help="print the SQL and change nothing")
    if options.parse_args(words).dry_run:
        sys.stdout.writelines(f"{line};\n" for line in ("BEGIN", *statements(), "COMMIT"))
        return
    with ExitStack() as opened:
        done = distribute(open_engine(settings, 1, opened), f"brain-{settings.database_schema}")
    said = "events are distributed by user_key" if done else "events were distributed before"
    sys.stdout.write(f"{said}\n")


def statements() -> list[str]:
    """Return what `distribute` runs, in one transaction, beside its entry in the audit log."""
    return [_LOCK_TIMEOUT, _DISTRIBUTE]


def distribute(engine: "Engine", service_name: str) -> bool:
    """Distribute the events by user key; return False where that is done already.

    Everything else stays on the coordinator. Whoever stores events waits meanwhile.

    Args:
        engine: of the role that owns the tables, on the coordinator.
        service_name: the application_name of running services' connections.

    Raises:
        FailedPrecondition: there is no Citus in this database (CITUS_MISSING), or the service still runs,
            whose statements have the other form (SERVICE_RUNNING).

    """
    with engine.begin() as connection:
        if not connection.scalar(_HAS_CITUS):
            message = "this database has no extension citus: CREATE EXTENSION citus, then add its workers"
            raise FailedPrecondition(message, "CITUS_MISSING")
        if connection.scalar(_IS_DISTRIBUTED):
            return False
        serving = connection.scalar(_SERVING, {"name": service_name})
        if serving:
            message = f"the events service has {serving} connections open: stop it, and start it afterwards"
            raise FailedPrecondition(message, "SERVICE_RUNNING")
        for statement in statements():
            connection.exec_driver_sql(statement)
        record(connection, AuditEntry(operator(), "distribute", "table events", {"by": "user_key"}))
    return True
