"""Registrations of properties in the database; every change is audited in its own transaction."""

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from shared.audit import AuditEntry, record
from shared.calendar import to_datetime_utc, to_micros
from shared.errors import FailedPrecondition

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

# Ingest looks every one up in every event.
MAXIMUM_REGISTERED = 20

# Keeps two callers from exceeding the maximum together.
_LOCK = text("SELECT FROM property_state FOR UPDATE")

_NUMBER = text("SELECT count(*) FROM registered_properties")

_ADD = text("""
INSERT INTO registered_properties (path, event, creator, created_time)
VALUES (CAST(:path AS text[]), :event, :creator, :now)
ON CONFLICT ON CONSTRAINT registered_properties_path_event_key DO NOTHING
""")

# What was overfull starts again.
_RESTART = text("""
UPDATE registered_properties SET is_overfull = false, generation = NULL
WHERE path = CAST(:path AS text[]) AND event IS NOT DISTINCT FROM :event AND is_overfull
""")

_SELECT = """
SELECT path, coalesce(event, '') AS event, creator, created_time, is_overfull,
       generation IN (SELECT generation FROM property_fills) AS is_filled,
       (SELECT count(DISTINCT coalesce(value_text, '~')) FROM property_values
        WHERE property_values.generation = registered_properties.generation) AS value_count
FROM registered_properties
"""

_GET = text(f"{_SELECT} WHERE path = CAST(:path AS text[]) AND event IS NOT DISTINCT FROM :event")

_LIST = text(f"""{_SELECT}
WHERE CAST(:after_path AS text) IS NULL
   OR (array_to_string(path, '.') COLLATE "C", coalesce(event, '') COLLATE "C") > (:after_path, :after_event)
ORDER BY array_to_string(path, '.') COLLATE "C", coalesce(event, '') COLLATE "C" LIMIT :limit
""")

_REMOVE = text("""
DELETE FROM registered_properties WHERE path = CAST(:path AS text[]) AND event IS NOT DISTINCT FROM :event
""")

_COUNT_CHANGE = text("UPDATE property_state SET version = version + 1")


class State(IntEnum):
    """What a registration has come to; mirrors brain.events.v1.PropertyState."""

    FILLING = 1
    READY = 2
    TOO_MANY_VALUES = 3


@dataclass(frozen=True, slots=True)
class Registration:
    """A registered property: its dotted path, the event ("" for all), when in Unix µs and by whom."""

    path: str
    event: str
    creator: str
    created_time: int
    state: State
    value_count: int


def register(engine: "Engine", path: tuple[str, ...], event: str | None, by: tuple[str, int]) -> Registration:
    """Register a property, or find it registered; `by` is who, and when in Unix µs.

    Raises:
        FailedPrecondition: there are as many as there may be.

    """
    creator, now = by
    names = {"path": list(path), "event": event}
    with engine.begin() as connection:
        connection.execute(_LOCK)
        added = connection.execute(_ADD, names | {"creator": creator, "now": to_datetime_utc(now)}).rowcount
        if added and connection.execute(_NUMBER).scalar_one() > MAXIMUM_REGISTERED:
            message = f"{MAXIMUM_REGISTERED} properties are registered, which is the limit: unregister one"
            raise FailedPrecondition(message, "TOO_MANY_PROPERTIES")
        if added or connection.execute(_RESTART, names).rowcount:
            _audit(connection, creator, "RegisterProperty", path, event)
        return _read(connection.execute(_GET, names).one())


def unregister(engine: "Engine", path: tuple[str, ...], event: str | None, actor: str) -> bool:
    """Give a registration up; return whether there was one."""
    names = {"path": list(path), "event": event}
    with engine.begin() as connection:
        connection.execute(_LOCK)
        removed = connection.execute(_REMOVE, names).rowcount > 0
        if removed:
            connection.execute(_COUNT_CHANGE)
            _audit(connection, actor, "UnregisterProperty", path, event)
    return removed


def page(engine: "Engine", after: tuple[str, str] | None, limit: int) -> list[Registration]:
    """Return the registrations behind (path, event), in this order."""
    after_path, after_event = after or (None, None)
    parameters = {"after_path": after_path, "after_event": after_event, "limit": limit}
    with engine.begin() as connection:
        rows = connection.execute(_LIST, parameters).all()
    return [_read(row) for row in rows]


def _audit(
    connection: "Connection", actor: str, action: str, path: tuple[str, ...], event: str | None
) -> None:
    record(connection, AuditEntry(actor, action, ".".join(path), {"event": event}))


def _read(row: "Row[Any]") -> Registration:
    created = to_micros(row.created_time)
    return Registration(".".join(row.path), row.event, row.creator, created, _state(row), row.value_count)


def _state(row: "Row[Any]") -> State:
    if row.is_overfull:
        return State.TOO_MANY_VALUES
    return State.READY if row.is_filled else State.FILLING
