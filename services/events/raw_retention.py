"""How long raw events are kept: whole months, by dropping partitions. Roll-ups stay."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from psycopg.errors import LockNotAvailable
from sqlalchemy import text

from services.events.distribution import is_spread
from services.events.ingest.partitions import partition_named
from services.events.stored_chunks import forget_before
from shared.calendar import MICROS, day_number, to_micros
from shared.database import driver_cursor

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Engine

# A partition is dropped this long after its events are refused, when none that was let in is under way.
_GRACE = 24 * 3600 * MICROS

# Held by the one replica that is at it, in a transaction that touches nothing else.
_TURN = text("SELECT pg_try_advisory_xact_lock('rollup_state'::regclass::oid::bigint)")

# Also those that were detached by somebody who did not come to drop them, and those half detached.
_TABLES = """
SELECT relname, inhparent IS NOT NULL, coalesce(inhdetachpending, false)
FROM pg_class LEFT JOIN pg_inherits ON inhrelid = pg_class.oid
WHERE relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = 'events'::regclass)
  AND relkind = 'r' AND relname ~ '^events_y[0-9]{4}(m[0-9]{2})?$'
ORDER BY relname
"""


@dataclass(frozen=True, slots=True)
class RawRetention:
    """Raw events of the current month and of so many (UTC) before it are kept; 0: all."""

    months: int

    def horizon(self, now: int) -> date | None:
        """Return the first day that is kept at a Unix µs."""
        if not self.months:
            return None
        today = datetime.fromtimestamp(now // MICROS, UTC).date()
        month = today.year * 12 + today.month - 1 - self.months
        return date(month // 12, month % 12 + 1, 1)

    def earliest(self, now: int) -> int | None:
        """Return the first instant that is kept, in Unix µs."""
        day = self.horizon(now)
        return None if day is None else to_micros(datetime(day.year, day.month, day.day, tzinfo=UTC))

    def drop(self, engine: "Engine", now: int) -> list[str]:
        """Drop the partitions that ended before the horizon of a day ago; return their names."""
        horizon = self.horizon(now - _GRACE)
        if horizon is None:
            return []
        with engine.begin() as turn:
            if not turn.execute(_TURN).scalar_one():
                return []
            with driver_cursor(turn) as cursor:
                forget_before(cursor, day_number(horizon))
            if is_spread(engine):
                return _drop_spread(engine, horizon)
            with engine.connect() as connection:
                alone = connection.execution_options(isolation_level="AUTOCOMMIT")
                with driver_cursor(alone) as cursor:
                    return _drop(cursor, horizon)


def _drop_spread(engine: "Engine", horizon: date) -> list[str]:
    """Drop where CONCURRENTLY is refused; partitions that somebody reads are left for the next time."""
    with engine.begin() as connection, driver_cursor(connection) as cursor:
        forget_before(cursor, day_number(horizon))
        names = [str(name) for name, *_ in cursor.execute(_TABLES.encode()).fetchall()]
    dropped = []
    for name in names:
        if partition_named(name).end > horizon:
            continue
        try:
            with engine.begin() as connection, driver_cursor(connection) as cursor:
                cursor.execute("SET LOCAL lock_timeout = '2s'")
                cursor.execute(f"DROP TABLE {name}".encode())
        except LockNotAvailable:
            continue
        dropped.append(name)
    return dropped


def _drop(cursor: "Cursor[tuple[Any, ...]]", horizon: date) -> list[str]:
    dropped = []
    for name, is_attached, is_pending in cursor.execute(_TABLES.encode()).fetchall():
        if partition_named(str(name)).end > horizon:
            continue
        if is_attached:
            # Unlike dropping at once, this waits for nobody while it locks others out.
            how = "FINALIZE" if is_pending else "CONCURRENTLY"
            cursor.execute(f"ALTER TABLE events DETACH PARTITION {name} {how}".encode())
        cursor.execute(f"DROP TABLE {name}".encode())
        dropped.append(str(name))
    return dropped
