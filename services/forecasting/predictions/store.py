"""Predictions and actual values in the database."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from services.forecasting.predictions.prediction import (
    Actual,
    Kept,
    Made,
    Prediction,
    PredictionType,
    Span,
)
from services.forecasting.predictions.selection import LABELS, SELECTED, Selection
from shared.calendar import to_datetime_utc, to_micros

if TYPE_CHECKING:
    from sqlalchemy import Connection

_ADD_RUN = text("""
INSERT INTO model_runs (run_id, created_time, created_by, question, definition)
VALUES (:run_id, :now, :created_by, :question, CAST(:definition AS jsonb))
ON CONFLICT (run_id) DO NOTHING
""")

_READ_RUN = text("SELECT question, definition::text AS definition FROM model_runs WHERE run_id = :run_id")

_ADD = text("""
INSERT INTO predictions (
    prediction_id, run_id, type, source, metric, labels, reference, interval, user_key, target, period_start,
    period_end, predicted, level_ratio, lower, upper, confidence_ratio, horizon, features, model,
    model_version, scale, created_time, check_time)
VALUES (
    :prediction_id, :run_id, :type, :source, :metric, :labels, :reference, :interval, :user_key, :target,
    :period_start, :period_end, :predicted, :level, :lower, :upper, :confidence, :horizon,
    CAST(:features AS jsonb), :model, :version, :scale, :now, :check_time)
ON CONFLICT (prediction_id) DO NOTHING
""").bindparams(sqlalchemy.bindparam("labels", type_=JSONB))

_COLUMNS = """
SELECT p.prediction_id, p.type, p.source, p.metric, p.labels, p.reference, p.interval, p.user_key, p.target,
       p.period_start, p.period_end, p.predicted, p.level_ratio, p.lower, p.upper, p.confidence_ratio,
       p.horizon, p.features::text AS features, p.model, p.model_version, p.scale, p.created_time,
       a.actual, a.accuracy_ratio, a.recorded_time
FROM predictions p LEFT JOIN actuals a USING (prediction_id)
"""


_FIND = text(f"{_COLUMNS} WHERE p.prediction_id = :prediction_id")

_LIST = text(f"""{_COLUMNS}
WHERE {SELECTED}
AND (NOT :only_with_actual OR a.actual IS NOT NULL)
AND (CAST(:after_start AS timestamptz) IS NULL
     OR p.period_start < :after_start
     OR p.period_start = :after_start AND p.prediction_id > CAST(:after_id AS text) COLLATE "C")
ORDER BY p.period_start DESC, p.prediction_id LIMIT :limit
""").bindparams(LABELS)

# The later value stands: a metric may be corrected, and people may know better than its source.
_RECORD = text("""
INSERT INTO actuals (prediction_id, actual, accuracy_ratio, recorded_time, recorded_by)
VALUES (:prediction_id, :actual, :accuracy, :now, :recorded_by)
ON CONFLICT (prediction_id) DO UPDATE SET actual = excluded.actual, accuracy_ratio = excluded.accuracy_ratio,
    recorded_time = excluded.recorded_time, recorded_by = excluded.recorded_by
WHERE actuals.recorded_by IS NULL OR excluded.recorded_by IS NOT NULL
""")

_SETTLE = text("UPDATE predictions SET check_time = NULL WHERE prediction_id = ANY(:ids)")

# Whoever claims looks now; the others, and whoever takes over from a dead one, look at check_time again.
_CLAIM = text("""
UPDATE predictions SET check_time = :again
WHERE prediction_id IN (
    SELECT prediction_id FROM predictions WHERE check_time <= :now
    ORDER BY check_time LIMIT :limit FOR UPDATE SKIP LOCKED)
RETURNING prediction_id, run_id
""")

_READ_CLAIMED = text(
    f"{_COLUMNS} WHERE p.prediction_id = ANY(:ids) ORDER BY p.source, p.reference, p.period_start"
)


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a model: who asked for it, what (a serialized message), and how it did, as JSON."""

    run_id: str
    created_by: str
    question: bytes
    definition: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """A prediction whose actual value is to be looked for, and the question of the run it is from, if any."""

    kept: Kept
    run_id: str | None


def add_run(connection: "Connection", run: Run, now: int) -> bool:
    """Keep a run; return False where there is one of this id already."""
    parameters = {
        "run_id": run.run_id,
        "created_by": run.created_by,
        "question": run.question,
        "definition": run.definition,
        "now": to_datetime_utc(now),
    }
    return connection.execute(_ADD_RUN, parameters).rowcount == 1


def run_question(connection: "Connection", run_id: str) -> bytes:
    """Return what a run was asked."""
    return bytes(connection.execute(_READ_RUN, {"run_id": run_id}).one().question)


def is_run(connection: "Connection", run: Run) -> bool:
    """Tell whether the run kept under an id has this question and definition."""
    kept = connection.execute(_READ_RUN, {"run_id": run.run_id}).one()
    return bytes(kept.question) == run.question and json.loads(kept.definition) == json.loads(run.definition)


def add(
    connection: "Connection",
    predictions: Sequence[Prediction],
    run_id: str | None,
    now: int,
    check_grace: int | None,
) -> int:
    """Keep predictions; return how many were new.

    `check_grace` is how many microseconds after its period to look for the actual value of each; None never.
    """
    rows = [_parameters(each, run_id, now, check_grace) for each in predictions]
    return sum(connection.execute(_ADD, row).rowcount for row in rows)


def find(connection: "Connection", prediction_id: str) -> Kept | None:
    """Return a prediction, or None."""
    row = connection.execute(_FIND, {"prediction_id": prediction_id}).one_or_none()
    return None if row is None else _kept(row)


def list_kept(
    connection: "Connection",
    selection: Selection,
    after: tuple[int, str] | None,
    limit: int,
    *,
    only_with_actual: bool,
) -> list[Kept]:
    """Return predictions by falling start of their periods, then by id, behind a position."""
    parameters = selection.parameters() | {
        "only_with_actual": only_with_actual,
        "after_start": None if after is None else to_datetime_utc(after[0]),
        "after_id": None if after is None else after[1],
        "limit": limit,
    }
    return [_kept(row) for row in connection.execute(_LIST, parameters)]


def record(connection: "Connection", prediction_id: str, actual: Actual, recorded_by: str | None) -> None:
    """Keep what came; what nobody recorded, but was read, replaces nothing that somebody recorded."""
    parameters = {
        "prediction_id": prediction_id,
        "actual": actual.value,
        "accuracy": actual.accuracy,
        "now": to_datetime_utc(actual.recorded),
        "recorded_by": recorded_by,
    }
    connection.execute(_RECORD, parameters)


def settle(connection: "Connection", prediction_ids: Sequence[str]) -> None:
    """Look for the actual values of these no more."""
    connection.execute(_SETTLE, {"ids": list(prediction_ids)})


def claim(connection: "Connection", now: int, again: int, limit: int) -> list[Claimed]:
    """Return predictions whose actual values are due, which nobody else looks for until `again`."""
    parameters = {"now": to_datetime_utc(now), "again": to_datetime_utc(again), "limit": limit}
    runs = {row.prediction_id: row.run_id for row in connection.execute(_CLAIM, parameters)}
    rows = connection.execute(_READ_CLAIMED, {"ids": list(runs)}) if runs else ()
    return [Claimed(_kept(row), runs[row.prediction_id]) for row in rows]


def _parameters(
    prediction: Prediction, run_id: str | None, now: int, check_grace: int | None
) -> dict[str, object]:
    made = prediction.made
    check = None if check_grace is None else to_datetime_utc(prediction.end + check_grace)
    return {
        "prediction_id": prediction.prediction_id,
        "run_id": run_id,
        "type": prediction.type.value,
        "source": prediction.source,
        "metric": prediction.metric,
        "labels": prediction.labels,
        "reference": prediction.reference or None,
        "interval": prediction.interval,
        "user_key": prediction.user_key,
        "target": prediction.target,
        "period_start": to_datetime_utc(prediction.start),
        "period_end": to_datetime_utc(prediction.end),
        "predicted": prediction.predicted,
        "level": made.span and made.span.level,
        "lower": made.span and made.span.lower,
        "upper": made.span and made.span.upper,
        "confidence": made.confidence,
        "horizon": made.horizon,
        "features": prediction.features,
        "model": made.model,
        "version": made.version,
        "scale": made.scale,
        "now": to_datetime_utc(now),
        "check_time": check,
    }


def _kept(row: "sqlalchemy.Row[Any]") -> Kept:
    span = None if row.lower is None else Span(row.level_ratio, row.lower, row.upper)
    made = Made(row.model, row.model_version, row.horizon, span, row.confidence_ratio, row.scale)
    prediction = Prediction(
        prediction_id=row.prediction_id,
        type=PredictionType(row.type),
        source=row.source,
        metric=row.metric,
        labels=dict(row.labels),
        reference=bytes(row.reference or b""),
        interval=row.interval,
        user_key=row.user_key,
        target=row.target,
        start=to_micros(row.period_start),
        end=to_micros(row.period_end),
        predicted=row.predicted,
        made=made,
        features=row.features,
    )
    actual = None
    if row.actual is not None:
        actual = Actual(row.actual, row.accuracy_ratio, to_micros(row.recorded_time))
    return Kept(prediction, to_micros(row.created_time), actual)
