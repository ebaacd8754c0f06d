"""Saved dashboard states in the database; every change is audited in its own transaction."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from shared.audit import AuditEntry, record
from shared.calendar import to_datetime_utc, to_micros

if TYPE_CHECKING:
    from sqlalchemy import Engine, Row

_SAVE = text("""
INSERT INTO snapshots (snapshot_id, name, state, creator, created_time, updated_time)
VALUES (:snapshot_id, :name, :state, :creator, :now, :now)
ON CONFLICT (snapshot_id) DO UPDATE
SET name = excluded.name, state = excluded.state, updated_time = excluded.updated_time
RETURNING snapshot_id, name, creator, created_time, updated_time, NULL AS state
""")

_GET = text("""
SELECT snapshot_id, name, creator, created_time, updated_time, state FROM snapshots WHERE snapshot_id = :id
""")

_LIST = text("""
SELECT snapshot_id, name, creator, created_time, updated_time, NULL AS state FROM snapshots
WHERE CAST(:time AS timestamptz) IS NULL OR created_time < :time
   OR (created_time = :time AND snapshot_id > :id)
ORDER BY created_time DESC, snapshot_id LIMIT :limit
""")

_DELETE = text("DELETE FROM snapshots WHERE snapshot_id = :id")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A saved state; times are Unix microseconds, the state is JSON text, None where it was not read."""

    snapshot_id: str
    name: str
    creator: str
    created_time: int
    updated_time: int
    state: str | None = None


def save(engine: "Engine", snapshot: Snapshot) -> Snapshot:
    """Store a snapshot, or replace name and state of the one with this id; return it without its state.

    The creator is also whom the audit log names, whoever created it.
    """
    values = {
        "snapshot_id": snapshot.snapshot_id,
        "name": snapshot.name,
        "state": snapshot.state,
        "creator": snapshot.creator,
        "now": to_datetime_utc(snapshot.updated_time),
    }
    with engine.begin() as connection:
        saved = _read(connection.execute(_SAVE, values).one())
        size = len((snapshot.state or "").encode())
        record(
            connection,
            AuditEntry(
                snapshot.creator,
                "SaveSnapshot",
                snapshot.snapshot_id,
                {"name": snapshot.name, "bytes": size},
            ),
        )
    return saved


def get(engine: "Engine", snapshot_id: str) -> Snapshot | None:
    """Return a snapshot with its state, or None."""
    with engine.begin() as connection:
        row = connection.execute(_GET, {"id": snapshot_id}).one_or_none()
    return None if row is None else _read(row)


def page(engine: "Engine", after: tuple[int, str] | None, limit: int) -> list[Snapshot]:
    """Return snapshots behind (created_time, id), newest first, without their states."""
    time, snapshot_id = (to_datetime_utc(after[0]), after[1]) if after else (None, "")
    with engine.begin() as connection:
        rows = connection.execute(_LIST, {"time": time, "id": snapshot_id, "limit": limit}).all()
    return [_read(row) for row in rows]


def delete(engine: "Engine", snapshot_id: str, actor: str) -> bool:
    """Delete a snapshot; return whether there was one."""
    with engine.begin() as connection:
        deleted = connection.execute(_DELETE, {"id": snapshot_id}).rowcount > 0
        if deleted:
            record(connection, AuditEntry(actor, "DeleteSnapshot", snapshot_id, {}))
    return deleted


def _read(row: "Row[Any]") -> Snapshot:
    created, updated = to_micros(row.created_time), to_micros(row.updated_time)
    return Snapshot(row.snapshot_id, row.name, row.creator, created, updated, row.state)
