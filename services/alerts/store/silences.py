"""Silences as they are kept."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.definitions import is_id
from services.alerts.holds import Silence
from shared.calendar import to_datetime_utc, to_micros
from shared.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = "SELECT silence_id, alert_ids, labels, start_time, end_time, comment, created_by FROM silences"

_CURRENT = text(f"{_COLUMNS} WHERE start_time <= :now AND end_time > :now")
_READ = text(f"{_COLUMNS} WHERE silence_id = :silence_id FOR UPDATE")
_LIST = text(f"""{_COLUMNS}
WHERE (NOT :unexpired_only OR end_time > :now)
  AND (CAST(:before AS timestamptz) IS NULL
       OR (end_time, silence_id) < (CAST(:before AS timestamptz), CAST(:after AS text) COLLATE "C"))
ORDER BY end_time DESC, silence_id DESC LIMIT :limit
""")

_ADD = text("""
INSERT INTO silences (silence_id, alert_ids, labels, start_time, end_time, comment, created_by)
VALUES (:silence_id, :alert_ids, :labels, :start_time, :end_time, :comment, :created_by)
ON CONFLICT DO NOTHING
""").bindparams(sqlalchemy.bindparam("labels", type_=JSONB))

_EXPIRE = text("""
UPDATE silences SET end_time = greatest(start_time, least(end_time, :now)) WHERE silence_id = :silence_id
""")


@dataclass(frozen=True, slots=True)
class KeptSilence:
    """A silence as it is shown."""

    silence_id: str
    alert_ids: list[str]
    labels: dict[str, str]
    start_time: datetime
    end_time: datetime
    comment: str
    created_by: str


def current(connection: sqlalchemy.Connection, now: int) -> list[Silence]:
    """Return the silences that are now."""
    kept = [_kept(row) for row in connection.execute(_CURRENT, {"now": to_datetime_utc(now)})]
    return [
        Silence(to_micros(each.start_time), to_micros(each.end_time), frozenset(each.alert_ids), each.labels)
        for each in kept
    ]


def read(connection: sqlalchemy.Connection, silence_id: str) -> KeptSilence:
    """Return a silence; raise NotFound. Others that change it wait for this transaction."""
    row = None
    if is_id(silence_id):
        row = connection.execute(_READ, {"silence_id": silence_id}).one_or_none()
    if row is None:
        raise NotFound(f"there is no silence {silence_id[:100]!r}", "SILENCE_UNKNOWN")
    return _kept(row)


def add(connection: sqlalchemy.Connection, silence: KeptSilence) -> bool:
    """Keep a silence; return False, keeping nothing, where there is one of this id."""
    fields = {name: getattr(silence, name) for name in KeptSilence.__dataclass_fields__}
    return connection.execute(_ADD, fields).rowcount == 1


def expire(connection: sqlalchemy.Connection, silence_id: str, now: int) -> None:
    """End a silence now, unless it is over; one that has not begun never will."""
    connection.execute(_EXPIRE, {"silence_id": silence_id, "now": to_datetime_utc(now)})


def list_kept(
    connection: sqlalchemy.Connection,
    after: "Sequence[Any] | None",
    now: int,
    limit: int,
    *,
    unexpired_only: bool,
) -> list[KeptSilence]:
    """Return silences, those that end last first, after an (end in Unix microseconds, id)."""
    before, silence_id = after or (None, None)
    parameters = {
        "before": None if before is None else to_datetime_utc(before),
        "after": silence_id,
        "now": to_datetime_utc(now),
        "limit": limit,
        "unexpired_only": unexpired_only,
    }
    return [_kept(row) for row in connection.execute(_LIST, parameters)]


def _kept(row: "sqlalchemy.Row[Any]") -> KeptSilence:
    return KeptSilence(**row._asdict())
