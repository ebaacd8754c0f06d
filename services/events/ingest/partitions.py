"""Partitions of events: months for the last two years and the time ahead, whole years before.

Hundreds of partitions would run every query out of locks; months make retention and vacuum cheap where the
traffic is.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import numpy as np
import psycopg
from numpy.typing import NDArray

from shared.calendar import Interval, next_unit
from shared.database import driver_cursor
from shared.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Engine

MONTHS_KEPT_AS_MONTHS = 24
MONTHS_AHEAD = 2


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """A range of days, [start, end), UTC."""

    start: date
    end: date

    @property
    def name(self) -> str:
        """The table's name: events_y2011 or events_y2026m11."""
        is_year = (self.end.year - self.start.year, self.start.month) == (1, 1) and self.end.month == 1
        suffix = "" if is_year else f"m{self.start.month:02d}"
        return f"events_y{self.start.year}{suffix}"


def month_of(day: date) -> Partition:
    """Return the month that a day is in."""
    start = day.replace(day=1)
    return Partition(start, next_unit(start, Interval.MONTH))


def partition_named(name: str) -> Partition:
    """Return the partition of a table's name."""
    year, _, month = name.removeprefix("events_y").partition("m")
    if month:
        return month_of(date(int(year), int(month), 1))
    return Partition(date(int(year), 1, 1), date(int(year) + 1, 1, 1))


def partition_for(day: date, today: date, existing: "Collection[Partition]") -> Partition:
    """Return a day's partition: an existing one, else its year if that ended long ago, else its month."""
    for partition in existing:
        if partition.start <= day < partition.end:
            return partition
    year = Partition(date(day.year, 1, 1), date(day.year + 1, 1, 1))
    is_old = (today.year - year.end.year) * 12 + today.month - year.end.month >= MONTHS_KEPT_AS_MONTHS
    is_free = not any(year.start <= partition.start < year.end for partition in existing)
    return year if is_old and is_free else month_of(day)


_EXISTING = """
SELECT pg_get_expr(child.relpartbound, child.oid)
FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
WHERE inhparent = 'events'::regclass
"""

# Made alone, then attached: PARTITION OF would lock out every reader and writer of events meanwhile.
# Inserts into a partition should be followed by a vacuum soon, for index-only scans.
_CREATE = """
CREATE TABLE IF NOT EXISTS {name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_insert_threshold = 20000)
"""
_ATTACH = (
    "ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ('{start} 00:00+00') TO ('{end} 00:00+00')"
)


class Partitions:
    """Makes partitions ahead and on demand; remembers those that exist."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine
        self._existing: frozenset[Partition] = frozenset()

    def clear(self) -> None:
        """Forget which partitions exist."""
        self._existing = frozenset()

    def ensure(self, times: NDArray[np.int64], now: int) -> None:
        """Make every partition the times (Unix µs) need.

        Raises:
            Unavailable: a partition could not be attached in time because somebody holds events locked.

        """
        months = np.unique((times * 1000).view("M8[ns]").astype("M8[M]"))
        self.ensure_days([month.astype("M8[D]").item() for month in months], now)

    def ensure_ahead(self, now: int) -> None:
        """Make the current month and those ahead."""
        month = month_of(_day(now))
        days = [month.start]
        for _ in range(MONTHS_AHEAD):
            days.append(next_unit(days[-1], Interval.MONTH))
        self.ensure_days(days, now)

    def ensure_days(self, days: list[date], now: int) -> None:
        """Make every partition the days need."""
        for day in days:
            if not any(partition.start <= day < partition.end for partition in self._existing):
                self._make(day, now)

    def _make(self, day: date, now: int) -> None:
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            # One at a time, so that two writers agree about what exists; let go at commit.
            cursor.execute("SELECT pg_advisory_xact_lock('events'::regclass::oid::bigint)")
            existing = {_parse(bound) for (bound,) in cursor.execute(_EXISTING).fetchall()}
            partition = partition_for(day, _day(now), existing)
            if partition not in existing:
                names = {"name": partition.name, "start": partition.start, "end": partition.end}
                cursor.execute("SET LOCAL lock_timeout = '5s'")
                try:
                    for statement in (_CREATE, _ATTACH):
                        cursor.execute(statement.format(**names).encode())
                except psycopg.errors.LockNotAvailable as error:
                    raise Unavailable("a partition of events is being made", "PARTITION_LOCKED") from error
        self._existing = frozenset(existing | {partition})


def _day(micros: int) -> date:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).date()


def _parse(bound: str) -> Partition:
    """Read FOR VALUES FROM ('2026-11-01 00:00:00+00') TO ('2026-12-01 00:00:00+00')."""
    texts = bound.split("'")
    start, end = (datetime.fromisoformat(text).astimezone(UTC).date() for text in (texts[1], texts[3]))
    return Partition(start, end)
