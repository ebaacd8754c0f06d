"""What was seen of alerts, and why they are in their state."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    import sqlalchemy

_COLUMNS = """entry_id, alert_key, recorded_time, window_start_time, window_end_time, value, baseline_value,
    compared, threshold, sample_size, condition, health, reason, episode, notices, held, detail"""

_READ = text(f"SELECT {_COLUMNS} FROM history WHERE entry_id = ANY(CAST(:ids AS int8[]))")  # noqa: S608 - constants

# By the index of its own where only changes are wanted.
_LIST = f"""
SELECT {_COLUMNS} FROM history
WHERE alert_key = :alert_key AND entry_id < :before {{}} ORDER BY entry_id DESC LIMIT :limit
"""  # noqa: S608 - constants alone
_LIST_ALL = text(_LIST.format(""))
_LIST_CHANGES = text(_LIST.format("AND changed"))

_RECENT = text(f"""
SELECT recent.* FROM unnest(CAST(:keys AS int8[])) AS asked(key)
CROSS JOIN LATERAL (
    SELECT {_COLUMNS} FROM history
    WHERE alert_key = asked.key AND compared IS NOT NULL ORDER BY entry_id DESC LIMIT :limit) recent
ORDER BY recent.entry_id
""")  # noqa: S608 - constants alone

_NEWEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class KeptEntry:
    """A line of history as it is shown."""

    entry_id: int
    alert_key: int
    recorded_time: datetime
    window_start_time: datetime | None
    window_end_time: datetime | None
    value: float | None
    baseline_value: float | None
    compared: float | None
    threshold: float | None
    sample_size: int | None
    condition: int
    health: int
    reason: int
    episode: int
    notices: Sequence[int]
    held: bool
    detail: str


def read(connection: "sqlalchemy.Connection", ids: Collection[int]) -> dict[int, KeptEntry]:
    """Return entries by alert."""
    return {entry.alert_key: entry for entry in map(_kept, connection.execute(_READ, {"ids": list(ids)}))}


def list_kept(
    connection: "sqlalchemy.Connection",
    alert_key: int,
    before: int | None,
    limit: int,
    *,
    changes_only: bool,
) -> list[KeptEntry]:
    """Return entries of an alert, newest first."""
    parameters = {"alert_key": alert_key, "before": _NEWEST if before is None else before, "limit": limit}
    return [
        _kept(row) for row in connection.execute(_LIST_CHANGES if changes_only else _LIST_ALL, parameters)
    ]


def recent(
    connection: "sqlalchemy.Connection", keys: Collection[int], limit: int
) -> dict[int, list[KeptEntry]]:
    """Return the latest judged windows of alerts, oldest first."""
    found: dict[int, list[KeptEntry]] = {key: [] for key in keys}
    if limit:
        for row in connection.execute(_RECENT, {"keys": list(keys), "limit": limit}):
            found[row.alert_key].append(_kept(row))
    return found


def _kept(row: Any) -> KeptEntry:  # noqa: ANN401 - a row
    return KeptEntry(**row._asdict())
