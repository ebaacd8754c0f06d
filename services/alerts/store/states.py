"""Where alerts stand: claimed under leases, written under fences."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from services.alerts.condition import Condition, Health, NoticeKind, State
from services.alerts.outcome import Claimed, Outcome
from services.alerts.plan import ChannelKind
from services.alerts.store import rows
from shared.calendar import to_datetime_utc, to_micros

if TYPE_CHECKING:
    from datetime import datetime

    import sqlalchemy

LEASE_SECONDS = 60

_STATE = """s.alert_key, s.fence, s.condition, s.health, s.since_time, s.episode, s.announced, s.streak,
    s.told, s.fire_told_time, s.acknowledged, s.sequence, s.judged_until_time, s.attempts"""

# Due and not leased, soonest first; of one source, or of all but some.
_CLAIM = """
WITH due AS (
    SELECT alert_key FROM alert_states
    WHERE {source} AND due_time <= :now AND lease_until_time <= clock_timestamp()
    ORDER BY due_time LIMIT :limit FOR UPDATE SKIP LOCKED)
UPDATE alert_states s
SET lease_until_time = clock_timestamp() + make_interval(secs => :lease), fence = s.fence + 1
FROM due WHERE s.alert_key = due.alert_key
RETURNING s.alert_key
"""
_OF, _OTHERS = "source = :source", "source <> ALL(CAST(:known AS text[]))"
_CLAIM_OF = text(_CLAIM.format(source=_OF))
_CLAIM_OTHERS = text(_CLAIM.format(source=_OTHERS))

_READ = f"""
SELECT {_STATE}, s.due_time, a.version, e.fired_time
FROM alert_states s JOIN alerts a USING (alert_key)
LEFT JOIN episodes e ON e.alert_key = s.alert_key AND e.episode = s.episode
"""  # noqa: S608 - constants alone
# A statement of its own: that which claims sees other tables as they were before its rows were locked, and
# so the definition before an edit that came first.
_READ_CLAIMED = text(_READ + "WHERE s.alert_key = ANY(CAST(:keys AS int8[])) ORDER BY s.due_time")

# For a change by a call: whoever judges this alert meanwhile will not be able to write.
_LOCK = text(_READ + "WHERE s.alert_key = :alert_key FOR UPDATE OF s")

_ADD = text("""
INSERT INTO alert_states (alert_key, source, since_time, judged_until_time, due_time)
VALUES (:alert_key, :source, :now, :judged_until, :due)
""")

_WRITE = text("""
UPDATE alert_states s
SET condition = r.condition, health = r.health, since_time = r.since_time, episode = r.episode,
    announced = r.announced, streak = r.streak, told = r.told, fire_told_time = r.fire_told_time,
    acknowledged = r.acknowledged, sequence = r.sequence, owes = r.owes, held_until_time = r.held_until_time,
    judged_until_time = r.judged_until_time, attempts = r.attempts, due_time = r.due_time,
    source = coalesce(r.source, s.source), lease_until_time = '-infinity', fence = s.fence + 1
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    alert_key int8, fence int8, condition int2, health int2, since_time timestamptz, episode int4,
    announced bool, streak int4, told int2[], fire_told_time timestamptz, acknowledged bool, sequence int4,
    owes bool, held_until_time timestamptz, judged_until_time timestamptz, attempts int4,
    due_time timestamptz, source text)
WHERE s.alert_key = r.alert_key AND s.fence = r.fence
RETURNING s.alert_key
""")

_RELEASE = text("""
UPDATE alert_states s SET lease_until_time = '-infinity'
FROM unnest(CAST(:keys AS int8[]), CAST(:fences AS int8[])) AS r(alert_key, fence)
WHERE s.alert_key = r.alert_key AND s.fence = r.fence
""")

_APPEND = text("""
INSERT INTO history (alert_key, recorded_time, window_start_time, window_end_time, value, baseline_value,
    compared, threshold, sample_size, condition, health, reason, episode, notices, held, changed, detail)
SELECT alert_key, recorded_time, window_start_time, window_end_time, value, baseline_value,
    compared, threshold, sample_size, condition, health, reason, episode, notices, held, changed, detail
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(
    alert_key int8, recorded_time timestamptz, window_start_time timestamptz, window_end_time timestamptz,
    value float8, baseline_value float8, compared float8, threshold float8, sample_size int8, condition int2,
    health int2, reason int2, episode int4, notices int2[], held bool, changed bool, detail text)
""")

_BEGIN_EPISODES = text("""
INSERT INTO episodes (alert_key, episode, fired_time)
SELECT alert_key, episode, fired_time
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(alert_key int8, episode int4, fired_time timestamptz)
""")

_RESOLVE_EPISODES = text("""
UPDATE episodes e SET resolved_time = r.resolved_time
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r(alert_key int8, episode int4, resolved_time timestamptz)
WHERE e.alert_key = r.alert_key AND e.episode = r.episode
""")

# One row for each recipient. REFRESH is for Alertmanager alone, and one that waits is as good as two. A
# recipient that is left alone until some time is not asked sooner by what is decided meanwhile.
_ENQUEUE = text(f"""
WITH failing AS MATERIALIZED (
    SELECT channel, recipient_id, max(due_time) AS until_time FROM outbox
    WHERE status = 1 AND attempts > 0 GROUP BY channel, recipient_id)
INSERT INTO outbox (alert_key, episode, kind, sequence, channel, recipient_id, notice, created_time, due_time)
SELECT n.alert_key, n.episode, n.kind, n.sequence, r.channel, r.recipient_id, n.notice, n.decided_time,
    greatest(n.decided_time, f.until_time)
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS n(
    alert_key int8, episode int4, kind int2, sequence int4, notice jsonb, decided_time timestamptz)
JOIN alert_recipients r USING (alert_key)
LEFT JOIN failing f ON f.channel = r.channel AND f.recipient_id = r.recipient_id
WHERE n.kind <> {NoticeKind.REFRESH.value} OR (r.channel = {ChannelKind.ALERTMANAGER.value} AND NOT EXISTS (
    SELECT FROM outbox o WHERE o.status = 1 AND o.alert_key = n.alert_key AND o.channel = r.channel
      AND o.recipient_id = r.recipient_id))
ORDER BY n.alert_key, n.sequence, r.position
""")  # noqa: S608 - constants alone

_ACKNOWLEDGE = text("""
WITH acknowledged AS (
    UPDATE alert_states SET acknowledged = true, fence = fence + 1, lease_until_time = '-infinity'
    WHERE alert_key = :alert_key)
UPDATE episodes SET acknowledged_by = :subject, acknowledged_time = :now
WHERE alert_key = :alert_key AND episode = :episode AND acknowledged_by IS NULL
""")

_WAKE = text("UPDATE alert_states SET due_time = least(due_time, :now) WHERE owes AND due_time IS NOT NULL")

# Those that are locked are being looked at.
_WAKE_ALL = """
WITH late AS (
    SELECT alert_key FROM alert_states WHERE {source} AND due_time > :now FOR UPDATE SKIP LOCKED)
UPDATE alert_states s SET due_time = :now FROM late WHERE s.alert_key = late.alert_key
"""
_WAKE_ALL_OF = text(_WAKE_ALL.format(source=_OF))
_WAKE_ALL_OTHERS = text(_WAKE_ALL.format(source=_OTHERS))


def claim(
    connection: "sqlalchemy.Connection", source: str | None, known: Sequence[str], now: int, limit: int
) -> list[Claimed]:
    """Take due alerts of a source under a lease; with None those of sources that are not known."""
    parameters = {"now": to_datetime_utc(now), "limit": limit, "lease": LEASE_SECONDS}
    if source is None:
        found = connection.execute(_CLAIM_OTHERS, parameters | {"known": list(known)})
    else:
        found = connection.execute(_CLAIM_OF, parameters | {"source": source})
    keys = list(found.scalars())
    return [_claimed(row) for row in connection.execute(_READ_CLAIMED, {"keys": keys})] if keys else []


def lock(connection: "sqlalchemy.Connection", alert_key: int) -> Claimed:
    """Return where an alert stands, for a change in this transaction."""
    return _claimed(connection.execute(_LOCK, {"alert_key": alert_key}).one())


def add(
    connection: "sqlalchemy.Connection", alert_key: int, source: str, now: int, judged_until: int
) -> None:
    """Have an alert looked at from now on; windows that begin before `judged_until` are not its business."""
    instant = to_datetime_utc(now)
    parameters = {"alert_key": alert_key, "source": source, "now": instant, "due": instant}
    connection.execute(_ADD, parameters | {"judged_until": to_datetime_utc(judged_until)})


def write(connection: "sqlalchemy.Connection", outcomes: Sequence[Outcome]) -> set[int]:
    """Write what came of looks; return the keys of those whose fence nobody had raised, and no others."""
    if not outcomes:
        return set()
    states = json.dumps([rows.state_row(each) for each in outcomes])
    written = set(connection.execute(_WRITE, {"rows": states}).scalars())
    kept = [each for each in outcomes if each.claimed.alert_key in written]
    for statement, made in (
        (_APPEND, [rows.entry_row(each, entry) for each in kept for entry in each.entries]),
        (_BEGIN_EPISODES, [row for each in kept for row in rows.begun(each)]),
        (_RESOLVE_EPISODES, [row for each in kept for row in rows.resolved(each)]),
        (_ENQUEUE, [rows.notice_row(each, notice) for each in kept for notice in each.notices]),
    ):
        if made:
            connection.execute(statement, {"rows": json.dumps(made)})
    return written


def release(connection: "sqlalchemy.Connection", untouched: Sequence[Claimed]) -> None:
    """Give back what was taken and not looked at."""
    keys, fences = [each.alert_key for each in untouched], [each.fence for each in untouched]
    connection.execute(_RELEASE, {"keys": keys, "fences": fences})


def acknowledge(
    connection: "sqlalchemy.Connection", alert_key: int, episode: int, subject: str, now: int
) -> None:
    """Note who takes care of an episode, the first to say so."""
    parameters = {"alert_key": alert_key, "episode": episode, "subject": subject}
    connection.execute(_ACKNOWLEDGE, parameters | {"now": to_datetime_utc(now)})


def wake(connection: "sqlalchemy.Connection", now: int) -> None:
    """Have alerts looked at that owe somebody an announcement: a silence changed."""
    connection.execute(_WAKE, {"now": to_datetime_utc(now)})


def wake_all(connection: "sqlalchemy.Connection", source: str | None, known: Sequence[str], now: int) -> None:
    """Have every alert of a source looked at now; with None those of sources that are not known."""
    instant = to_datetime_utc(now)
    if source is None:
        connection.execute(_WAKE_ALL_OTHERS, {"now": instant, "known": list(known)})
    else:
        connection.execute(_WAKE_ALL_OF, {"now": instant, "source": source})


def _claimed(row: Any) -> Claimed:  # noqa: ANN401 - a row
    state = State(
        condition=Condition(row.condition),
        health=Health(row.health),
        episode=row.episode,
        announced=row.announced,
        streak=row.streak,
        told=frozenset(map(Health, row.told)),
        fire_told=_micros(row.fire_told_time),
        acknowledged=row.acknowledged,
        sequence=row.sequence,
    )
    return Claimed(
        row.alert_key,
        row.fence,
        state,
        to_micros(row.since_time),
        to_micros(row.judged_until_time),
        row.attempts,
        _micros(row.due_time),
        row.version,
        _micros(row.fired_time),
    )


def _micros(instant: "datetime | None") -> int | None:
    return None if instant is None else to_micros(instant)
