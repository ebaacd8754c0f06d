"""Stores the columns of days that are over, so that whole days are read as they are sent.

Today's events are read themselves, and so is a day that late events came to, until its columns are made anew.
"""

from typing import TYPE_CHECKING

from services.events import stored_chunks
from services.events.domain import Selection
from services.events.reading.scanning import Chunk, Scan, Scanner
from services.events.rollups.deltas import NO_VALUE
from services.events.stored_chunks import StoredChunk
from shared.calendar import DAY_MICROS
from shared.database import driver_cursor

if TYPE_CHECKING:
    from sqlalchemy import Engine

# Below the least, reading the events takes no longer; above the most, a chunk takes too much memory at once.
LEAST_EVENTS, MOST_EVENTS = 1_000, 10_000_000
# Days looked at in one statement, and chunks stored at one go.
DAYS_AT_ONCE, CHUNKS_AT_ONCE = 32, 50
# How soon the columns of a day are made again where late events come all the time.
RENEWAL_SECONDS = 3_600

_BOUNDS = "SELECT min(hour) / 24, max(hour) / 24 FROM event_hours WHERE event_key = 0"

_MISSING = """
SELECT event, day FROM (
    SELECT event, hour / 24 AS day, sum(event_hours.revision) AS revision, sum(events) AS events
    FROM event_types JOIN event_hours USING (event_key)
    WHERE hour >= %(first_day)s * 24 AND hour < %(last_day)s * 24
    GROUP BY event, hour / 24
) AS known LEFT JOIN stored_chunks AS stored USING (event, day)
WHERE events BETWEEN %(least)s AND %(most)s
  AND (stored.revision IS NULL
       OR (mod(known.revision - stored.revision, 18446744073709551616) <> 0
           AND stored_time < now() - make_interval(secs => %(renewal_seconds)s)))
ORDER BY day DESC, event LIMIT %(limit)s
"""


class ChunkStorer:
    """Goes through the days that are over, the latest first, again and again. For one thread."""

    def __init__(
        self,
        engine: "Engine",
        least_events: int = LEAST_EVENTS,
        renewal_seconds: float = RENEWAL_SECONDS,
    ) -> None:
        self._engine = engine
        self._scanner = Scanner(engine)
        self._least_events = least_events
        self._renewal_seconds = renewal_seconds
        self._next_day: int | None = None  # that days below it are to be looked at; None: all of them

    def step(self, now: int, earliest: int | None) -> bool:
        """Look at some days and store what is missing; return whether there is more to look at.

        Args:
            now: Unix µs; its UTC day is not over.
            earliest: the first Unix µs that events are kept from, None for all.

        """
        first, last = self._days(now, earliest)
        until = last if self._next_day is None else min(self._next_day, last)
        since = max(first, until - DAYS_AT_ONCE)
        names = self._missing(since, until) if since < until else []
        for event, day in names:
            self._store(event, day)
        if len(names) < CHUNKS_AT_ONCE:
            self._next_day = since if since > first else None
        return bool(names) or self._next_day is not None

    def _days(self, now: int, earliest: int | None) -> tuple[int, int]:
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            [(first, last)] = cursor.execute(_BOUNDS).fetchall()
        if first is None:
            return 0, 0
        kept_from = 0 if earliest is None else -(-earliest // DAY_MICROS)
        return max(first, kept_from), min(last + 1, now // DAY_MICROS)

    def _missing(self, first_day: int, last_day: int) -> list[tuple[str, int]]:
        parameters = {
            "first_day": first_day,
            "last_day": last_day,
            "least": self._least_events,
            "most": MOST_EVENTS,
            "renewal_seconds": self._renewal_seconds,
            "limit": CHUNKS_AT_ONCE,
        }
        with self._engine.begin() as connection, driver_cursor(connection) as cursor:
            return [(event, day) for event, day in cursor.execute(_MISSING, parameters).fetchall()]

    def _store(self, event: str, day: int) -> None:
        """Store a chunk in a transaction of its own: who stores several may wait for others in a circle."""
        scan = Scan((event,), (day, day + 1), Selection((event,)), with_value=True, properties=())
        for chunk in self._scanner.scan(scan, {}):
            with self._engine.begin() as connection, driver_cursor(connection) as cursor:
                stored_chunks.write(cursor, _stored(chunk))


def _stored(chunk: Chunk) -> StoredChunk:
    values = chunk.values
    amounts = None
    if values is not None and (values != NO_VALUE).any():
        amounts = values.astype("<i8").tobytes()
    return StoredChunk(
        chunk.event,
        chunk.day,
        chunk.revision,
        chunk.user_keys.astype("<i4").tobytes(),
        chunk.times.astype("<i8").tobytes(),
        amounts,
    )
