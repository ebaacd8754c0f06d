"""What happens beside the calls: folding deltas, partitions ahead of time, ending stalled writers."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from services.events.rollups.compaction import compact
from shared.errors import ServiceError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.events.ingest.partitions import Partitions
    from services.events.measures import Measures

_log = logging.getLogger(__name__)

COMPACTION_SECONDS = 1.0
# Folding takes at most this part of the time, however much of it there is to do.
COMPACTION_SHARE = 0.1

# A client that stops inside COPY is beyond every timeout of PostgreSQL's, and holds its transaction open.
_END_STALLED = text("""
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
  AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY staged_events%'
  AND now() - query_start > make_interval(secs => :seconds)
""")


@dataclass(frozen=True)
class Chore:
    """Something done again and again; it returns how many seconds to wait before the next time."""

    name: str
    run: Callable[[], float]


def compaction(engine: "Engine", measures: "Measures") -> Chore:
    """Folds deltas, resting in proportion to what it took."""

    def run() -> float:
        began = monotonic()
        deltas = compact(engine)
        seconds = monotonic() - began
        measures.count_fold(deltas, seconds)
        return max(COMPACTION_SECONDS, seconds * (1 / COMPACTION_SHARE - 1))

    return Chore("compaction", run)


def partitions_ahead(partitions: "Partitions", clock: Callable[[], int]) -> Chore:
    """Make the partitions of the coming months."""

    def run() -> float:
        partitions.ensure_ahead(clock())
        return 3600.0

    return Chore("partitions", run)


def stalled_copies(engine: "Engine", seconds: float) -> Chore:
    """End connections that stopped in the middle of sending events."""

    def run() -> float:
        with engine.begin() as connection:
            ended = connection.execute(_END_STALLED, {"seconds": seconds}).scalar_one()
        if ended:
            _log.warning("ended stalled connections", extra={"connections": ended})
        return seconds / 2

    return Chore("stalled copies", run)


class Housekeeper:
    """A thread for each chore."""

    def __init__(self, chores: list[Chore]) -> None:
        self._stopping = Event()
        self._threads = [
            Thread(target=self._repeat, args=(chore,), name=f"chore-{chore.name}", daemon=True)
            for chore in chores
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads once each has finished what it is at."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, chore: Chore) -> None:
        failing = False
        wait = 0.0
        while not self._stopping.wait(wait):
            try:
                wait = chore.run()
            except (SQLAlchemyError, psycopg.Error, ServiceError) as error:
                wait = COMPACTION_SECONDS
                if not failing:  # the transition, not every failure of an outage
                    _log.warning("chore fails", extra={"chore": chore.name, "error": type(error).__name__})
                failing = True
            else:
                if failing:
                    _log.info("chore works again", extra={"chore": chore.name})
                failing = False
