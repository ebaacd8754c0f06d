"""What waits to be told, and the ledger of what was."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from services.alerts.notice import Notice
from services.alerts.plan import ChannelKind
from shared.calendar import to_datetime_utc, to_micros

if TYPE_CHECKING:
    import sqlalchemy

LEASE_SECONDS = 60
DELIVERED, FAILED = 2, 3

# Oldest first, and of one alert and recipient only the oldest that waits: RESOLVE never overtakes FIRE.
_CLAIM = text("""
WITH due AS (
    SELECT delivery_id FROM outbox o
    WHERE channel = :channel AND status = 1 AND due_time <= :now AND lease_until_time <= clock_timestamp()
      AND NOT EXISTS (
        SELECT FROM outbox e WHERE e.status = 1 AND e.alert_key = o.alert_key AND e.channel = o.channel
          AND e.recipient_id = o.recipient_id AND e.delivery_id < o.delivery_id)
    ORDER BY due_time, delivery_id LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE outbox o
SET lease_until_time = clock_timestamp() + make_interval(secs => :lease), fence = o.fence + 1
FROM due WHERE o.delivery_id = due.delivery_id
RETURNING o.delivery_id, o.fence, o.recipient_id, o.notice, o.attempts, o.created_time
""")

_SETTLE = text("""
UPDATE outbox o
SET status = r.status, attempts = o.attempts + 1, answer = r.answer, due_time = r.due_time,
    finished_time = CASE WHEN r.status = 1 THEN NULL ELSE CAST(:now AS timestamptz) END,
    lease_until_time = '-infinity', fence = o.fence + 1
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    delivery_id int8, fence int8, status int2, answer text, due_time timestamptz)
WHERE o.delivery_id = r.delivery_id AND o.fence = r.fence
""")

_RELEASE = text("""
UPDATE outbox o SET lease_until_time = '-infinity'
FROM unnest(CAST(:ids AS int8[]), CAST(:fences AS int8[])) AS r(delivery_id, fence)
WHERE o.delivery_id = r.delivery_id AND o.fence = r.fence
""")

# A receiver that does not answer is asked again by one delivery, not by all.
_POSTPONE = text("""
UPDATE outbox SET due_time = :until
WHERE status = 1 AND channel = :channel AND recipient_id = :recipient_id AND due_time < :until
""")

_LIST = text("""
SELECT o.delivery_id, a.alert_id, o.episode, o.kind, o.sequence, o.channel, o.recipient_id, o.status,
       o.attempts, o.created_time, o.due_time, o.finished_time, o.answer
FROM outbox o JOIN alerts a USING (alert_key)
WHERE (CAST(:alert_key AS int8) IS NULL OR o.alert_key = :alert_key)
  AND (cardinality(CAST(:statuses AS int2[])) = 0 OR o.status = ANY(CAST(:statuses AS int2[])))
  AND (CAST(:before AS int8) IS NULL OR o.delivery_id < :before)
ORDER BY o.delivery_id DESC LIMIT :limit
""")

_WAITING = text("""
SELECT channel, count(*) AS depth, min(created_time) AS oldest FROM outbox WHERE status = 1 GROUP BY channel
""")


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that this process may attempt until its lease ends."""

    delivery_id: int
    fence: int
    recipient_id: int | None
    notice: Notice
    attempts: int
    created: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What an attempt came to: delivered, failed for good, or due again."""

    delivery: Due
    answer: str
    delivered: bool
    # When to try again, in Unix microseconds; None: never.
    retry: int | None = None


@dataclass(frozen=True, slots=True)
class KeptDelivery:
    """A line of the ledger."""

    delivery_id: int
    alert_id: str
    episode: int
    kind: int
    sequence: int
    channel: int
    recipient_id: int | None
    status: int
    attempts: int
    created_time: datetime
    due_time: datetime
    finished_time: datetime | None
    answer: str


def claim(connection: "sqlalchemy.Connection", channel: ChannelKind, now: int, limit: int) -> list[Due]:
    """Take deliveries under a lease."""
    parameters = {
        "channel": channel.value,
        "now": to_datetime_utc(now),
        "limit": limit,
        "lease": LEASE_SECONDS,
    }
    found = [
        Due(
            row.delivery_id,
            row.fence,
            row.recipient_id,
            Notice.from_json(row.notice),
            row.attempts,
            to_micros(row.created_time),
        )
        for row in connection.execute(_CLAIM, parameters)
    ]
    return sorted(found, key=lambda due: due.delivery_id)


def settle(connection: "sqlalchemy.Connection", settled: Sequence[Settled], now: int) -> None:
    """Write what attempts came to, where nobody else took the delivery meanwhile."""
    rows = [
        {
            "delivery_id": each.delivery.delivery_id,
            "fence": each.delivery.fence,
            "status": DELIVERED if each.delivered else FAILED if each.retry is None else 1,
            "answer": each.answer,
            "due_time": to_datetime_utc(now if each.retry is None else each.retry).isoformat(),
        }
        for each in settled
    ]
    connection.execute(_SETTLE, {"rows": json.dumps(rows), "now": to_datetime_utc(now)})


def release(connection: "sqlalchemy.Connection", untried: Sequence[Due]) -> None:
    """Give back what was taken and not attempted."""
    ids, fences = [each.delivery_id for each in untried], [each.fence for each in untried]
    connection.execute(_RELEASE, {"ids": ids, "fences": fences})


def postpone(
    connection: "sqlalchemy.Connection", channel: ChannelKind, recipient_id: int, until: int
) -> None:
    """Leave a recipient alone until then (Unix microseconds)."""
    parameters = {"channel": channel.value, "recipient_id": recipient_id, "until": to_datetime_utc(until)}
    connection.execute(_POSTPONE, parameters)


def list_kept(
    connection: "sqlalchemy.Connection",
    alert_key: int | None,
    statuses: Sequence[int],
    before: int | None,
    limit: int,
) -> list[KeptDelivery]:
    """Return deliveries, newest first."""
    parameters = {"alert_key": alert_key, "statuses": list(statuses), "before": before, "limit": limit}
    return [KeptDelivery(**row._asdict()) for row in connection.execute(_LIST, parameters)]


def waiting(connection: "sqlalchemy.Connection") -> dict[ChannelKind, tuple[int, int]]:
    """Return how many deliveries wait by channel, and since when the oldest does (Unix microseconds)."""
    rows: Any = connection.execute(_WAITING)
    return {ChannelKind(row.channel): (row.depth, to_micros(row.oldest)) for row in rows}
