"""Lets go of what is old: history, what was told, deleted alerts, addresses that nobody uses."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import text

from services.alerts.plan import ChannelKind
from services.alerts.store import outbox
from shared.calendar import DAY_MICROS, to_datetime_utc
from shared.chores import Chore

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.alerts.measures import Measures

PRUNING_SECONDS = 3_600.0
COUNTING_SECONDS = 10.0

_PRUNE = (
    text("DELETE FROM history WHERE recorded_time < :before"),
    text("DELETE FROM outbox WHERE status <> 1 AND finished_time < :before"),
    text("DELETE FROM silences WHERE end_time < :before"),
    # With all that was seen, once nothing is left to be told.
    text("""
    DELETE FROM alerts a WHERE deleted_time < :before
      AND NOT EXISTS (SELECT FROM outbox o WHERE o.alert_key = a.alert_key AND o.status = 1)
    """),
)

_UNUSED = """
NOT EXISTS (SELECT FROM alert_recipients a WHERE a.recipient_id = r.recipient_id)
AND NOT EXISTS (SELECT FROM outbox o WHERE o.recipient_id = r.recipient_id)
"""
# What is locked is looked at once more: an alert may have taken an address since the statement began, and
# would lose it to the cascade.
_LOCK_UNUSED = text(f"""
SELECT recipient_id FROM recipients r WHERE {_UNUSED}
ORDER BY channel, address_hash FOR UPDATE SKIP LOCKED
""")  # noqa: S608 - constants alone
_DELETE_UNUSED = text(f"""
DELETE FROM recipients r WHERE recipient_id = ANY(CAST(:ids AS int8[])) AND {_UNUSED}
""")  # noqa: S608 - constants alone


def prune(engine: "Engine", now: int, history_days: int) -> None:
    """Delete what is older than that, each kind in a transaction of its own."""
    before = to_datetime_utc(now - history_days * DAY_MICROS)
    for statement in _PRUNE:
        with engine.begin() as connection:
            connection.execute(statement, {"before": before})
    with engine.begin() as connection:
        unused = list(connection.execute(_LOCK_UNUSED).scalars())
        if unused:
            connection.execute(_DELETE_UNUSED, {"ids": unused})


def pruning(engine: "Engine", clock: Callable[[], int], history_days: int) -> Chore:
    """Prune every hour."""

    def run() -> float:
        prune(engine, clock(), history_days)
        return PRUNING_SECONDS

    return Chore("pruning", run)


def counting(engine: "Engine", clock: Callable[[], int], measures: "Measures") -> Chore:
    """Count what waits to be told."""

    def run() -> float:
        count(engine, clock(), measures)
        return COUNTING_SECONDS

    return Chore("counting", run)


def count(engine: "Engine", now: int, measures: "Measures") -> None:
    """Set the gauges of the outbox."""
    with engine.begin() as connection:
        waiting = outbox.waiting(connection)
    for kind in ChannelKind:
        depth, oldest = waiting.get(kind, (0, now))
        measures.outbox_depth.labels(kind.name.lower()).set(depth)
        measures.outbox_age_seconds.labels(kind.name.lower()).set(max(0, now - oldest) / 1e6)
