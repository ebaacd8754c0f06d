"""What happens beside the calls: folding what ingest left, making partitions, ending stalled copies."""

import gc
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

from sqlalchemy import text

from services.events.delta_tables import waiting_bytes
from services.events.raw_retention import RawRetention
from services.events.reading.chunk_storing import ChunkStorer
from services.events.reading.orders import refresh
from services.events.rollups import compaction as rollups
from services.events.rollups.compaction import compact
from services.events.sessions import folding as sessions
from services.events.sessions.folding import fold
from services.events.value_rollups.filling import fill_one
from services.events.value_rollups.folding import fold_values, sweep
from services.events.value_rollups.forgetting import forget_values
from shared.calendar import HOUR_MICROS
from shared.chores import Chore

if TYPE_CHECKING:
    from threading import Event

    from sqlalchemy import Engine

    from services.events.identity.merging import Merger
    from services.events.identity.moving import Mover
    from services.events.ingest.partitions import Partitions
    from services.events.measures import Measures
    from services.events.rollups.cover import ReportingCalendar

_log = logging.getLogger(__name__)

COMPACTION_SECONDS = 1.0
# Which part of its time compaction may work, by how many bytes of deltas wait: ingest needs the processor
# too, but every reader reads what waits.
SHARES = ((4_000_000, 0.1), (16_000_000, 0.5))
ORDERS_SECONDS = 10.0
STORING_SECONDS = 60.0
# How soon another replica takes up what a dead one left.
MERGE_SECONDS = 1.0
COLLECTING_SECONDS = 30.0
_YOUNG = 1  # the generations up to this one
REGISTRATION_SECONDS = 2.0

# Copies that wait for their client, and how far they are. A client that stops inside COPY is beyond every
# timeout of PostgreSQL's, and holds its transaction open.
_WAITING_COPIES = text("""
SELECT pid, query_start, bytes_processed
FROM pg_stat_progress_copy JOIN pg_stat_activity USING (pid)
WHERE pg_stat_activity.datname = current_database() AND usename = current_user
  AND wait_event = 'ClientRead' AND query LIKE 'COPY events (%'
""")

_END = text("""
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid = :pid AND query_start = :query_start AND wait_event = 'ClientRead'
""")


def compaction(engine: "Engine", measures: "Measures") -> Chore:
    """Fold deltas, resting in proportion to what it took."""

    def run() -> float:
        began = monotonic()
        deltas = compact(engine) + fold_values(engine)
        seconds = monotonic() - began
        waiting = waiting_bytes(engine, rollups.TABLE)
        measures.count_fold(deltas, seconds, waiting)
        return rest(seconds, waiting) if deltas else COMPACTION_SECONDS

    return Chore("compaction", run)


def session_folding(engine: "Engine") -> Chore:
    """Fold runs of events into sessions, resting as compaction does."""

    def run() -> float:
        began = monotonic()
        folded = fold(engine)
        seconds = monotonic() - began
        return rest(seconds, waiting_bytes(engine, sessions.TABLE)) if folded else COMPACTION_SECONDS

    return Chore("sessions", run)


def order_sets(engine: "Engine", clock: Callable[[], int]) -> Chore:
    """Make the sets of orders of hours that are over."""

    def run() -> float:
        return COMPACTION_SECONDS if refresh(engine, clock() // HOUR_MICROS) else ORDERS_SECONDS

    return Chore("orders", run)


def chunk_storing(engine: "Engine", retention: RawRetention, clock: Callable[[], int]) -> Chore:
    """Store the columns of days that are over, resting nine times as long as it worked."""
    storer = ChunkStorer(engine)

    def run() -> float:
        began, now = monotonic(), clock()
        more = storer.step(now, retention.earliest(now))
        worked = monotonic() - began
        return max(COMPACTION_SECONDS, worked * 9) if more else STORING_SECONDS

    return Chore("chunks", run)


def rest(worked_seconds: float, waiting: int) -> float:
    """Return how long folding rests after work, while so many bytes wait."""
    share = next((share for below, share in SHARES if waiting < below), 1.0)
    return max(COMPACTION_SECONDS, worked_seconds * (1 / share - 1)) if share < 1 else 0.0


def partitions_ahead(partitions: "Partitions", clock: Callable[[], int]) -> Chore:
    """Make the partitions of the coming months."""

    def run() -> float:
        partitions.ensure_ahead(clock())
        return 3600.0

    return Chore("partitions", run)


def raw_retention(engine: "Engine", retention: RawRetention, clock: Callable[[], int]) -> Chore:
    """Drop the partitions of months that are kept no longer."""

    def run() -> float:
        for name in retention.drop(engine, clock()):
            _log.info("dropped a partition", extra={"partition": name})
        return 3600.0

    return Chore("raw retention", run)


def registered_properties(engine: "Engine", calendar: "ReportingCalendar") -> Chore:
    """Fill the roll-ups of registered properties; sweep away what is of none, or nobody's, any more."""
    forgotten = 0

    def run() -> float:
        nonlocal forgotten
        sweep(engine)
        forgotten = forget_values(engine, forgotten)
        return 0.0 if fill_one(engine, calendar) else REGISTRATION_SECONDS

    return Chore("registered properties", run)


def stalled_copies(engine: "Engine", seconds: float) -> Chore:
    """End connections that sent nothing for so long in the middle of sending events."""
    since: dict[tuple[object, ...], float] = {}  # when a copy was first seen to be where it is

    def run() -> float:
        now = monotonic()
        with engine.begin() as connection:
            waiting = {tuple(row) for row in connection.execute(_WAITING_COPIES)}
            for place in since.keys() - waiting:
                del since[place]
            for pid, query_start, progress in waiting:
                if now - since.setdefault((pid, query_start, progress), now) >= seconds:
                    connection.execute(_END, {"pid": pid, "query_start": query_start})
                    _log.warning("ended a stalled connection")
        return seconds / 2

    return Chore("stalled copies", run)


def merges(merger: "Merger", mover: "Mover", wanted: "Event") -> Chore:
    """Merge whom events say to be one person, and finish what was interrupted."""

    def run() -> float:
        # First moved, then decided anew: whoever stores events looks at all that is decided and not moved.
        return 0.0 if mover.step() or merger.settle() else MERGE_SECONDS

    return Chore("merges", run, wanted)


def collecting() -> Chore:
    """Free what calls leave in cycles, as gRPC's streams do: 50 kB of messages for a client that reflects.

    Few events would let the collector wait for hours, by the thresholds of `services.events.__main__`.
    """

    def run() -> float:
        gc.collect(_YOUNG)
        return COLLECTING_SECONDS

    return Chore("garbage", run)
