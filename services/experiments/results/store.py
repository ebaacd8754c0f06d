"""Aggregates of what people did, and the decisions made on them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.json_format import MessageToJson, ParseDict
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.experiments.domain import Experiment
from services.experiments.results.folded import read_current, waiting_people
from services.experiments.results.totals import Sums, Totals
from shared.calendar import to_datetime_utc

if TYPE_CHECKING:
    from sqlalchemy import Connection

# Participants: exposed, without an override.
_PARTICIPANTS = text("""
SELECT a.variant, a.allocation, a.conflicting, count(*)
FROM assignments a
WHERE a.experiment_id = :experiment AND a.exposed_time IS NOT NULL
  AND (CAST(:among AS int4[]) IS NULL OR a.user_key = ANY(CAST(:among AS int4[])))
  AND NOT EXISTS (SELECT FROM overrides o WHERE o.experiment_id = a.experiment_id AND o.user_key = a.user_key)
GROUP BY a.variant, a.allocation, a.conflicting
""")

_ALLOCATIONS = text("SELECT allocation, shares FROM allocations WHERE experiment_id = :experiment")

_OVERRIDDEN = text("""
SELECT count(*) FROM overrides WHERE experiment_id = :experiment
  AND (CAST(:among AS int4[]) IS NULL OR user_key = ANY(CAST(:among AS int4[])))
""")

# sum() of int8 is numeric, so sums and squares are exact.
_SUMS = text("""
SELECT metric, variant, count(*), sum(conversions), sum(conversions * conversions),
       sum(total), sum(total * total), sum(total * conversions)
FROM (
    SELECT c.metric, a.variant, count(*) AS conversions, sum(c.value) AS total
    FROM conversions c JOIN assignments a USING (experiment_id, user_key)
    WHERE c.experiment_id = :experiment AND c.metric = ANY(CAST(:metrics AS text[]))
      AND NOT a.conflicting
      AND (CAST(:among AS int4[]) IS NULL OR c.user_key = ANY(CAST(:among AS int4[])))
      AND c.conversion_time >= a.exposed_time
      AND (CAST(:window AS float8) IS NULL
           OR c.conversion_time < a.exposed_time + CAST(:window AS float8) * interval '1 second')
      AND NOT EXISTS (SELECT FROM overrides o
                      WHERE o.experiment_id = c.experiment_id AND o.user_key = c.user_key)
    GROUP BY c.metric, a.variant, c.user_key) AS people
GROUP BY metric, variant
""")

_CONFLICT = text("""
UPDATE assignments SET conflicting = true
WHERE experiment_id = :experiment AND user_key IN (
    SELECT user_key FROM assignments
    WHERE experiment_id = :experiment AND user_key = ANY(CAST(:keys AS int4[])) ORDER BY user_key FOR UPDATE)
""")

_BEGUN = text("""
SELECT width_bucket(exposed_time, CAST(:boundaries AS timestamptz[])), count(*)
FROM assignments WHERE exposed_time >= :first AND exposed_time < :last GROUP BY 1
""")

_ADD_DECISION = text("""
INSERT INTO decisions (decision_id, experiment_id, metric, variant, decided_time, decided_by, override_reason,
                       objections, results)
VALUES (:decision_id, :experiment, :metric, :variant, :now, :decided_by, :override_reason,
        CAST(:objections AS text[]), :results)
""").bindparams(sqlalchemy.bindparam("results", type_=JSONB))

_DECISIONS = """
SELECT d.number, d.decision_id, e.key, d.metric, d.variant, d.decided_time, d.decided_by, d.override_reason,
       d.objections, d.results
FROM decisions d JOIN experiments e USING (experiment_id)
"""
_FIND_DECISION = text(f"{_DECISIONS} WHERE d.decision_id = :decision_id")
_LIST_DECISIONS = text(f"""{_DECISIONS}
WHERE (:key = '' OR e.key = :key) AND (CAST(:before AS int8) IS NULL OR d.number < :before)
ORDER BY d.number DESC LIMIT :limit
""")

# While more wait to be folded, as after a bulk load, counting everybody is quicker than counting those.
MAXIMUM_WAITING = 100_000


@dataclass(frozen=True, slots=True)
class ListedDecision:
    """A decision and its place in the list."""

    number: int
    decision: pb.Decision


def read_totals(connection: "Connection", experiment: Experiment, metrics: Sequence[str]) -> Totals:
    """Return totals of these metrics as they are now.

    The transaction should be one snapshot.
    """
    if waiting_people(connection, experiment) <= MAXIMUM_WAITING:
        return read_current(connection, experiment, metrics)
    return recount(connection, experiment, metrics)


def recount(
    connection: "Connection",
    experiment: Experiment,
    metrics: Sequence[str],
    among: Sequence[int] | None = None,
) -> Totals:
    """Return the same from everything that is kept, without what was folded; among people, where told."""
    parameters: dict[str, Any] = {
        "experiment": experiment.experiment_id,
        "metrics": list(metrics),
        "window": experiment.window_seconds,
        "among": among,
    }
    people = connection.execute(_PARTICIPANTS, parameters).all()
    split: dict[int, list[int]] = {}
    for variant, allocation, conflicting, count in people:
        if not conflicting:
            split.setdefault(allocation, [0] * len(experiment.variants))[variant] += count
    return Totals(
        split=split,
        shares={row.allocation: row.shares for row in connection.execute(_ALLOCATIONS, parameters)},
        conflicting=sum(count for _, _, conflicting, count in people if conflicting),
        overridden=connection.execute(_OVERRIDDEN, parameters).scalar_one(),
        sums={
            (metric, variant): Sums(*map(int, numbers))
            for metric, variant, *numbers in connection.execute(_SUMS, parameters)
        },
    )


def mark_conflicting(connection: "Connection", experiment: Experiment, user_keys: Sequence[int]) -> None:
    """Leave people out from now on."""
    connection.execute(_CONFLICT, {"experiment": experiment.experiment_id, "keys": list(user_keys)})


def participations(connection: "Connection", boundaries: Sequence[int]) -> list[int]:
    """Return how many began between neighbouring moments, in Unix microseconds, over all experiments."""
    moments = [to_datetime_utc(each) for each in boundaries]
    parameters = {"boundaries": moments, "first": moments[0], "last": moments[-1]}
    rows = connection.execute(_BEGUN, parameters).all()
    found: dict[int, int] = {position: count for position, count in rows}  # noqa: C416 - dict() loses the types
    return [found.get(position, 0) for position in range(1, len(boundaries))]


def add_decision(connection: "Connection", experiment: Experiment, decision: pb.Decision, now: int) -> None:
    """Keep a decision."""
    parameters = {
        "decision_id": decision.decision_id,
        "experiment": experiment.experiment_id,
        "metric": decision.metric,
        "variant": decision.variant,
        "now": to_datetime_utc(now),
        "decided_by": decision.decided_by,
        "override_reason": decision.override_reason,
        "objections": list(decision.objections),
        "results": json.loads(MessageToJson(decision.results, preserving_proto_field_name=True)),
    }
    connection.execute(_ADD_DECISION, parameters)


def find_decision(connection: "Connection", decision_id: str) -> pb.Decision | None:
    """Return a decision, or None."""
    row = connection.execute(_FIND_DECISION, {"decision_id": decision_id}).one_or_none()
    return None if row is None else _decision(row).decision


def list_decisions(
    connection: "Connection", key: str, before: int | None, limit: int
) -> list[ListedDecision]:
    """Return decisions, newest first; of all experiments for an empty key."""
    parameters = {"key": key, "before": before, "limit": limit}
    return [_decision(row) for row in connection.execute(_LIST_DECISIONS, parameters)]


def _decision(row: "sqlalchemy.Row[tuple[object, ...]]") -> ListedDecision:
    decision = pb.Decision(
        decision_id=row.decision_id,
        experiment_key=row.key,
        metric=row.metric,
        variant=row.variant,
        decided_by=row.decided_by,
        override_reason=row.override_reason,
        objections=row.objections,
        results=ParseDict(row.results, pb.Results(), ignore_unknown_fields=True),
    )
    decision.decided_time.FromDatetime(row.decided_time)
    return ListedDecision(row.number, decision)
