"""Alerts as they are kept, and where they stand for those who look."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy
from brain.alerts.v1 import definition_pb2 as pb
from google.protobuf.json_format import MessageToJson, ParseDict
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.alerts.condition import Reason
from services.alerts.definitions import is_id
from shared.calendar import to_datetime_utc
from shared.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

# Firing first, then recovering, pending, ill, and the others.
_RANK = """CASE s.condition WHEN 3 THEN 0 WHEN 4 THEN 1 WHEN 2 THEN 2 ELSE
    CASE WHEN s.health <> 1 THEN 3 ELSE 4 END END"""

_COLUMNS = f"""
SELECT a.alert_key, a.alert_id, a.definition, a.active, a.created_time, a.updated_time,
       s.condition, s.health, s.since_time, s.episode, s.due_time, {_RANK} AS rank,
       e.fired_time, e.acknowledged_by, e.acknowledged_time,
       (SELECT max(entry_id) FROM history h
        WHERE h.alert_key = a.alert_key AND h.reason <> {Reason.SKIPPED.value}) AS latest_entry_id
FROM alerts a JOIN alert_states s USING (alert_key)
LEFT JOIN episodes e ON e.alert_key = a.alert_key AND e.episode = s.episode
WHERE a.deleted_time IS NULL
"""  # noqa: S608 - constants alone

_READ = text(f"{_COLUMNS} AND a.alert_id = :alert_id")

_LIST = text(f"""
SELECT * FROM ({_COLUMNS}) listed
WHERE (cardinality(CAST(:conditions AS int2[])) = 0 OR condition = ANY(CAST(:conditions AS int2[])))
  AND (CAST(:rank AS int4) IS NULL
       OR (rank, alert_id) > (CAST(:rank AS int4), CAST(:after AS text) COLLATE "C"))
ORDER BY rank, alert_id LIMIT :limit
""")  # noqa: S608 - constants alone

_ADD = text("""
INSERT INTO alerts (alert_id, definition, created_time, updated_time)
VALUES (:alert_id, :definition, :now, :now) RETURNING alert_key
""").bindparams(sqlalchemy.bindparam("definition", type_=JSONB))

_REDEFINE = text("""
UPDATE alerts SET definition = :definition, version = version + 1, updated_time = :now
WHERE alert_key = :alert_key
""").bindparams(sqlalchemy.bindparam("definition", type_=JSONB))

_ACTIVATE = text("UPDATE alerts SET active = :active, updated_time = :now WHERE alert_key = :alert_key")

_DELETE = text("UPDATE alerts SET deleted_time = :now WHERE alert_key = :alert_key")

_LOCK_ID = text("SELECT pg_advisory_xact_lock(hashtextextended(:alert_id, 8))")

_DEFINITIONS = text("""
SELECT alert_key, alert_id, definition FROM alerts WHERE alert_key = ANY(CAST(:keys AS int8[]))
""")


@dataclass(frozen=True, slots=True)
class Kept:
    """An alert as it is shown; its definition is without channels."""

    alert_key: int
    alert_id: str
    definition: pb.AlertDefinition
    active: bool
    created_time: datetime
    updated_time: datetime
    condition: int
    health: int
    since_time: datetime
    episode: int
    due_time: datetime | None
    rank: int
    fired_time: datetime | None
    acknowledged_by: str | None
    acknowledged_time: datetime | None
    latest_entry_id: int | None


def lock_id(connection: sqlalchemy.Connection, alert_id: str) -> None:
    """Wait for whoever makes or changes the alert of this id; others wait until this transaction ends."""
    if is_id(alert_id):
        connection.execute(_LOCK_ID, {"alert_id": alert_id})


def find(connection: sqlalchemy.Connection, alert_id: str) -> Kept | None:
    """Return an alert, or None."""
    if not is_id(alert_id):
        return None  # NUL, for one, PostgreSQL does not take
    row = connection.execute(_READ, {"alert_id": alert_id}).one_or_none()
    return None if row is None else _kept(row)


def read(connection: sqlalchemy.Connection, alert_id: str) -> Kept:
    """Return an alert; raise NotFound."""
    found = find(connection, alert_id)
    if found is None:
        raise NotFound(f"there is no alert {alert_id[:100]!r}", "ALERT_UNKNOWN")
    return found


def list_kept(
    connection: sqlalchemy.Connection,
    after: "Sequence[Any] | None",
    conditions: "Sequence[int]",
    limit: int,
) -> list[Kept]:
    """Return alerts in the order of their rank and id, those after a (rank, id)."""
    rank, alert_id = after or (None, None)
    parameters = {"rank": rank, "after": alert_id, "conditions": list(conditions), "limit": limit}
    return [_kept(row) for row in connection.execute(_LIST, parameters)]


def add(connection: sqlalchemy.Connection, alert_id: str, definition: pb.AlertDefinition, now: int) -> int:
    """Keep an alert; return its key."""
    parameters = {"alert_id": alert_id, "definition": stored(definition), "now": to_datetime_utc(now)}
    return int(connection.execute(_ADD, parameters).scalar_one())


def redefine(
    connection: sqlalchemy.Connection, alert_key: int, definition: pb.AlertDefinition, now: int
) -> None:
    """Replace a definition."""
    parameters = {"alert_key": alert_key, "definition": stored(definition), "now": to_datetime_utc(now)}
    connection.execute(_REDEFINE, parameters)


def activate(connection: sqlalchemy.Connection, alert_key: int, now: int, *, active: bool) -> None:
    """Pause or resume."""
    parameters = {"alert_key": alert_key, "active": active, "now": to_datetime_utc(now)}
    connection.execute(_ACTIVATE, parameters)


def delete(connection: sqlalchemy.Connection, alert_key: int, now: int) -> None:
    """Take an alert out of every answer; its row goes once all is delivered."""
    connection.execute(_DELETE, {"alert_key": alert_key, "now": to_datetime_utc(now)})


def definitions(
    connection: sqlalchemy.Connection, keys: "Collection[int]"
) -> dict[int, tuple[str, pb.AlertDefinition]]:
    """Return ids and definitions, without channels, by key."""
    rows = connection.execute(_DEFINITIONS, {"keys": list(keys)})
    return {row.alert_key: (row.alert_id, _definition(row.definition)) for row in rows}


def stored(definition: pb.AlertDefinition) -> object:
    """Return a definition without its channels, which are kept apart, as JSON."""
    bare = pb.AlertDefinition()
    bare.CopyFrom(definition)
    del bare.channels[:]
    return json.loads(MessageToJson(bare, preserving_proto_field_name=True))


def _definition(kept: Any) -> pb.AlertDefinition:  # noqa: ANN401 - JSON
    # Written by a later version: what this one does not know is left out.
    return ParseDict(kept, pb.AlertDefinition(), ignore_unknown_fields=True)


def _kept(row: "sqlalchemy.Row[Any]") -> Kept:
    fields = row._asdict()
    return Kept(**fields | {"definition": _definition(fields["definition"])})
