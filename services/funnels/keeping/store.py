"""Funnels as they are kept."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy
from brain.funnels.v1 import funnels_pb2 as pb
from google.protobuf.json_format import MessageToJson, ParseDict
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.funnels.keeping import definitions
from shared.calendar import to_datetime_utc
from shared.errors import NotFound

if TYPE_CHECKING:
    from services.funnels.domain import Funnel

_COLUMNS = """
SELECT funnel_number, funnel_id, definition, active, creator, created_time, deactivated_time FROM funnels
"""
_READ = text(f"{_COLUMNS} WHERE funnel_id = :funnel_id")
# Deactivating waits until those have stored their records who found the funnel active.
_HOLD = text(f"{_COLUMNS} WHERE funnel_id = ANY(:funnel_ids) ORDER BY funnel_id FOR SHARE")
_LIST = text(f"""{_COLUMNS}
WHERE (CAST(:after AS text) IS NULL OR funnel_id > CAST(:after AS text) COLLATE "C")
  AND (active OR NOT :active_only)
ORDER BY funnel_id LIMIT :limit
""")
_ADD = text("""
INSERT INTO funnels (funnel_id, definition, creator, created_time)
VALUES (:funnel_id, :definition, :creator, :now)
ON CONFLICT ON CONSTRAINT funnels_funnel_id_key DO NOTHING
""").bindparams(sqlalchemy.bindparam("definition", type_=JSONB))
_DEACTIVATE = text("""
UPDATE funnels SET active = false, deactivated_time = :now WHERE funnel_id = :funnel_id AND active
""")


@dataclass(frozen=True, slots=True)
class Kept:
    """A funnel for answers and, as `funnel`, for everything else."""

    message: pb.Funnel
    funnel: "Funnel"


def read(connection: sqlalchemy.Connection, funnel_id: str) -> Kept:
    """Return a funnel; raise NotFound."""
    # NUL, for one, PostgreSQL does not take.
    found = connection.execute(_READ, {"funnel_id": funnel_id}) if definitions.is_id(funnel_id) else None
    row = found.one_or_none() if found else None
    if row is None:
        raise unknown(funnel_id)
    return _kept(row)


def unknown(funnel_id: str) -> NotFound:
    """Return what is raised for an id nobody made."""
    return NotFound(f"there is no funnel {funnel_id[:100]!r}", "FUNNEL_UNKNOWN")


def hold(connection: sqlalchemy.Connection, funnel_ids: set[str]) -> dict[str, Kept]:
    """Return those that there are; they stay as they are until the transaction ends."""
    names = sorted(filter(definitions.is_id, funnel_ids))
    return {row.funnel_id: _kept(row) for row in connection.execute(_HOLD, {"funnel_ids": names})}


def page(
    connection: sqlalchemy.Connection, after: str | None, limit: int, *, active_only: bool
) -> list[Kept]:
    """Return funnels behind an id, in order."""
    parameters = {"after": after, "limit": limit, "active_only": active_only}
    return [_kept(row) for row in connection.execute(_LIST, parameters)]


def add(
    connection: sqlalchemy.Connection, funnel_id: str, definition: pb.Funnel, creator: str, now: int
) -> bool:
    """Keep a funnel; return whether there was none of this id."""
    parameters = {
        "funnel_id": funnel_id,
        "definition": json.loads(MessageToJson(definition, preserving_proto_field_name=True)),
        "creator": creator,
        "now": to_datetime_utc(now),
    }
    return connection.execute(_ADD, parameters).rowcount == 1


def deactivate(connection: sqlalchemy.Connection, funnel_id: str, now: int) -> bool:
    """Deactivate a funnel; return whether it was active."""
    parameters = {"funnel_id": funnel_id, "now": to_datetime_utc(now)}
    return connection.execute(_DEACTIVATE, parameters).rowcount == 1


def _kept(row: "sqlalchemy.Row[tuple[object, ...]]") -> Kept:
    # Written by a later version: what this one does not know is left out.
    message = ParseDict(row.definition, pb.Funnel(), ignore_unknown_fields=True)
    funnel = definitions.to_funnel(message, row.funnel_number)
    message.funnel_id, message.active, message.creator = row.funnel_id, row.active, row.creator
    message.created_time.FromDatetime(row.created_time)
    if row.deactivated_time is not None:
        message.deactivated_time.FromDatetime(row.deactivated_time)
    return Kept(message, funnel)
