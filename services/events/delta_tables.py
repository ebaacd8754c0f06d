"""Tables that every transaction appends a row to, and that a background job folds: delta_id and payload."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from psycopg import Cursor
    from sqlalchemy import Engine

# A bound in bytes keeps a fold's memory small whatever has piled up.
_TAKE = """
DELETE FROM {table} WHERE delta_id IN (
    SELECT delta_id FROM (
        SELECT delta_id, sum(length(payload)) OVER (ORDER BY delta_id) - length(payload) AS before
        FROM (SELECT delta_id, payload FROM {table} ORDER BY delta_id LIMIT 10000) AS oldest
    ) AS measured WHERE before < %(maximum_bytes)s
) RETURNING payload
"""

_WAITING = "SELECT coalesce(sum(length(payload)), 0) FROM {table}"


def take(cursor: "Cursor[tuple[Any, ...]]", table: str, maximum_bytes: int) -> list[bytes]:
    """Delete the oldest rows, at least one and about so many bytes, and return their payloads.

    Only for who holds the lock of the fold, taken in an earlier statement: see rollups/compaction.py.
    """
    rows = cursor.execute(_TAKE.format(table=table).encode(), {"maximum_bytes": maximum_bytes}).fetchall()
    return [payload for (payload,) in rows]


def waiting_bytes(engine: "Engine", table: str) -> int:
    """Return the size of the rows that nobody has folded yet."""
    with engine.begin() as connection:
        return int(connection.execute(text(_WAITING.format(table=table))).scalar_one())
