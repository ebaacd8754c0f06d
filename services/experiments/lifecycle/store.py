"""Experiments as they are kept. Changes take turns, so that change numbers are committed in their order."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, cast

import sqlalchemy
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.json_format import MessageToJson, ParseDict
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.experiments.domain import WHOLE, Experiment, Status
from services.experiments.lifecycle import definitions
from shared.calendar import to_datetime_utc, to_micros
from shared.errors import NotFound
from shared.validation import Violations

if TYPE_CHECKING:
    from collections.abc import Sequence

# Readers, and those who assign and track, go on.
_TAKE_TURNS = text("LOCK TABLE experiments IN SHARE ROW EXCLUSIVE MODE")

_COLUMNS = """
SELECT e.experiment_id, e.key, e.definition, e.status, e.created_time, e.started_time, e.completed_time,
       e.winner, a.allocation, a.shares
FROM experiments e CROSS JOIN LATERAL (
    SELECT allocation, shares FROM allocations
    WHERE experiment_id = e.experiment_id ORDER BY allocation DESC LIMIT 1) a
"""

_READ = text(f"{_COLUMNS} WHERE e.key = :key")
_READ_ALL = text(_COLUMNS)
_LIST = text(f"""{_COLUMNS}
WHERE (CAST(:after AS text) IS NULL OR e.key > CAST(:after AS text) COLLATE "C")
  AND (cardinality(CAST(:statuses AS int2[])) = 0 OR e.status = ANY(CAST(:statuses AS int2[])))
ORDER BY e.key LIMIT :limit
""")

# As results count them: what is folded, what waits to be, less those with an override. All are few.
_PARTICIPANTS = text("""
SELECT experiment_id, sum(participants)::int8 FROM (
    SELECT experiment_id, participants FROM folded_participants
    WHERE experiment_id = ANY(CAST(:experiments AS int4[])) AND NOT conflicting
    UNION ALL
    SELECT experiment_id, participants FROM touched
    WHERE experiment_id = ANY(CAST(:experiments AS int4[])) AND variant IS NOT NULL AND NOT conflicting
    UNION ALL
    SELECT o.experiment_id, -1 FROM overrides o JOIN assignments a USING (experiment_id, user_key)
    WHERE o.experiment_id = ANY(CAST(:experiments AS int4[]))
      AND a.exposed_time IS NOT NULL AND NOT a.conflicting
) AS parts
GROUP BY experiment_id
""")

_LAST_CHANGE = text("SELECT coalesce(max(change), 0) FROM experiments")

_ADD = text("""
INSERT INTO experiments (key, definition, status, created_time) VALUES (:key, :definition, 1, :now)
RETURNING experiment_id
""").bindparams(sqlalchemy.bindparam("definition", type_=JSONB))

_ALLOCATE = text("""
INSERT INTO allocations (experiment_id, allocation, shares)
SELECT :experiment_id, coalesce(max(allocation), 0) + 1, CAST(:shares AS int4[])
FROM allocations WHERE experiment_id = :experiment_id
""")

_REDEFINE = text("""
UPDATE experiments SET definition = :definition, change = nextval('experiment_changes')
WHERE experiment_id = :experiment_id
""").bindparams(sqlalchemy.bindparam("definition", type_=JSONB))

_STEP = text("""
UPDATE experiments SET status = :status, change = nextval('experiment_changes'),
    started_time = CASE WHEN :status = 2 THEN coalesce(started_time, :now) ELSE started_time END,
    completed_time = CASE WHEN :status = 4 THEN CAST(:now AS timestamptz) ELSE completed_time END,
    winner = coalesce(:winner, winner)
WHERE experiment_id = :experiment_id
""")

_TOUCH = text(
    "UPDATE experiments SET change = nextval('experiment_changes') WHERE experiment_id = :experiment_id"
)


@dataclass(frozen=True, slots=True)
class Kept:
    """An experiment for answers and, as `experiment`, for everything else."""

    experiment: Experiment
    definition: pb.ExperimentDefinition
    created_time: datetime
    started_time: datetime | None
    completed_time: datetime | None


def take_turns(connection: sqlalchemy.Connection) -> None:
    """Wait for changes under way; others wait until this transaction ends."""
    connection.execute(_TAKE_TURNS)


def read(connection: sqlalchemy.Connection, key: str) -> Kept:
    """Return an experiment; raise NotFound."""
    found = find(connection, key)
    if found is None:
        raise unknown(key)
    return found


def unknown(key: str) -> NotFound:
    """Return what is raised for a key nobody made."""
    return NotFound(f"there is no experiment {key[:100]!r}", "EXPERIMENT_UNKNOWN")


def find(connection: sqlalchemy.Connection, key: str) -> Kept | None:
    """Return an experiment, or None."""
    if not definitions.is_key(key):
        return None  # NUL, for one, PostgreSQL does not take
    row = connection.execute(_READ, {"key": key}).one_or_none()
    return None if row is None else _kept(row)


def read_all(connection: sqlalchemy.Connection) -> list[Experiment]:
    """Return every experiment."""
    return [_kept(row).experiment for row in connection.execute(_READ_ALL)]


def last_change(connection: sqlalchemy.Connection) -> int:
    """Return the number of the last change."""
    return int(connection.execute(_LAST_CHANGE).scalar_one())


def list_kept(
    connection: sqlalchemy.Connection, after: str | None, statuses: "Sequence[int]", limit: int
) -> list[Kept]:
    """Return experiments in the order of their keys."""
    parameters = {"after": after, "statuses": list(statuses), "limit": limit}
    return [_kept(row) for row in connection.execute(_LIST, parameters)]


def participants(connection: sqlalchemy.Connection, experiments: "Sequence[int]") -> dict[int, int]:
    """Return how many people take part in each experiment where somebody does."""
    rows = connection.execute(_PARTICIPANTS, {"experiments": list(experiments)}).all()
    return {experiment: count for experiment, count in rows}  # noqa: C416 - dict() loses the types


def add(
    connection: sqlalchemy.Connection,
    key: str,
    definition: pb.ExperimentDefinition,
    shares: "Sequence[int]",
    now: int,
) -> None:
    """Keep a draft."""
    parameters = {"key": key, "definition": _json(definition), "now": to_datetime_utc(now)}
    experiment_id = connection.execute(_ADD, parameters).scalar_one()
    allocate(connection, experiment_id, shares)


def allocate(connection: sqlalchemy.Connection, experiment_id: int, shares: "Sequence[int]") -> None:
    """Put shares in force, in hundredths of a percent."""
    connection.execute(_ALLOCATE, {"experiment_id": experiment_id, "shares": list(shares)})


def redefine(
    connection: sqlalchemy.Connection, experiment_id: int, definition: pb.ExperimentDefinition
) -> None:
    """Replace a definition."""
    connection.execute(_REDEFINE, {"experiment_id": experiment_id, "definition": _json(definition)})


def step(
    connection: sqlalchemy.Connection,
    experiment_id: int,
    status: Status,
    now: int,
    winner: str | None = None,
) -> None:
    """Take a step of life that was checked before."""
    parameters = {
        "experiment_id": experiment_id,
        "status": status.value,
        "now": to_datetime_utc(now),
        "winner": winner,
    }
    connection.execute(_STEP, parameters)


def touch(connection: sqlalchemy.Connection, experiment_id: int) -> None:
    """Tell replicas that something about an experiment changed."""
    connection.execute(_TOUCH, {"experiment_id": experiment_id})


def _json(definition: pb.ExperimentDefinition) -> object:
    return json.loads(MessageToJson(definition, preserving_proto_field_name=True))


def _kept(row: "sqlalchemy.Row[tuple[object, ...]]") -> Kept:
    # Written by a later version: what this one does not know is left out.
    definition = ParseDict(row.definition, pb.ExperimentDefinition(), ignore_unknown_fields=True)
    coverage = definition.coverage_percent if definition.HasField("coverage_percent") else WHOLE / 100
    window, planned = definition.conversion_window_seconds, definition.planned_sample
    experiment = Experiment(
        experiment_id=row.experiment_id,
        key=row.key,
        status=Status(row.status),
        variants=definitions.to_variants(definition, row.shares),
        allocation=row.allocation,
        metrics=definitions.to_metrics(definition),
        coverage=round(coverage * 100),
        targeting=definitions.targeting(Violations(), "", definition.targeting),
        namespace_slice=definitions.to_slice(definition),
        tracks_exposures=definition.tracks_exposures,
        window_seconds=window if definition.HasField("conversion_window_seconds") else None,
        planned_sample=planned if definition.HasField("planned_sample") else None,
        confidence_level=definition.confidence_level or 0.95,
        started_time=None if row.started_time is None else to_micros(row.started_time),
        winner=row.winner,
        kept_attributes=tuple(definition.break_down_attributes),
        completed_time=None if row.completed_time is None else to_micros(row.completed_time),
    )
    times = cast("tuple[datetime, datetime | None, datetime | None]", row[4:7])
    return Kept(experiment, definition, *times)
