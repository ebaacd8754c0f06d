"""Keeps the points of a forecast as predictions."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.forecasting.v1 import forecasts_pb2

from services.forecasting.models import forecast as models
from services.forecasting.predictions import store
from services.forecasting.predictions.prediction import Made, Prediction, PredictionType, Span
from services.forecasting.sources import EVENTS
from shared import audit
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.errors import AlreadyExists
from shared.intervals import INTERVAL_NUMBERS

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from services.forecasting.models.values import Forecast
    from services.forecasting.series import Grid
    from services.forecasting.sources import MetricKey
    from shared.validation import Violations

_SAVE_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_TYPES = {"revenue": PredictionType.REVENUE, "event_count": PredictionType.DEMAND}


def save_id(violations: "Violations", field: str, given: str) -> str:
    """Return the id to keep something under; empty where nothing is to be kept."""
    if given and not _SAVE_ID.fullmatch(given):
        violations.add(field, 'must be 1 to 100 letters, digits and "._-"')
        return ""
    return given


def type_of(source: str, metric: str) -> PredictionType:
    """Return what a prediction of a metric is about."""
    return _TYPES.get(metric, PredictionType.METRIC) if source == EVENTS else PredictionType.METRIC


def reference_of(key: "MetricKey") -> forecasts_pb2.MetricReference:
    """Return the metric as it was asked for, with its zone."""
    query = key.query
    return forecasts_pb2.MetricReference(
        source=key.source,
        name=query.name,
        labels=query.labels,
        filters=query.filters,
        interval=query.interval,
        time_zone=query.time_zone,
    )


@dataclass(frozen=True)
class Keeper:
    """Keeps forecasts."""

    engine: "Engine"
    clock: Callable[[], int]
    # After the end of a period, until its actual value is read.
    grace_micros: int

    def keep(self, run_id: str, key: "MetricKey", grid: "Grid", found: "Forecast") -> int:
        """Keep a prediction for each point; return how many, 0 where the run was kept before.

        Raise AlreadyExists where another metric was kept under this id.
        """
        question = reference_of(key).SerializeToString(deterministic=True)
        run = store.Run(run_id, current_caller().subject, question, _definition(grid, found))
        now = self.clock()
        with self.engine.begin() as connection:
            if not store.add_run(connection, run, now):
                _refuse_others(connection, run_id, question)
                return 0
            made = _predictions(run_id, key, question, grid, found)
            added = store.add(connection, made, run_id, now, self.grace_micros)
            details: dict[str, str | float] = {"metric": key.query.name, "predictions": added}
            entry = AuditEntry(current_caller().subject, "SavePredictions", run_id, details)
            audit.record(connection, entry)
        return added


def _refuse_others(connection: "Connection", run_id: str, question: bytes) -> None:
    if store.run_question(connection, run_id) != question:
        raise AlreadyExists(f"predictions of something else are kept as {run_id!r}", "SAVE_ID_TAKEN")


def _definition(grid: "Grid", found: "Forecast") -> str:
    tested = found.back_test
    return json.dumps(
        {
            "model": found.model,
            "reason": found.why,
            "history_points": len(grid.units),
            "warnings": found.warnings,
            "mase": tested and tested.errors.mase,
            "seasonal_naive_mase": tested and tested.seasonal_naive.mase,
        }
    )


def _predictions(
    run_id: str, key: "MetricKey", reference: bytes, grid: "Grid", found: "Forecast"
) -> list[Prediction]:
    band = found.bands[0]
    return [
        Prediction(
            prediction_id=f"{run_id}/{at + 1}",
            type=type_of(key.source, key.query.name),
            source=key.source,
            metric=key.query.name,
            labels=dict(key.query.labels),
            reference=reference,
            interval=INTERVAL_NUMBERS[grid.interval],
            user_key=None,
            target="",
            start=start,
            end=end,
            predicted=float(found.mean[at]),
            made=Made(
                model=found.model,
                version=models.VERSION,
                horizon=at + 1,
                span=Span(band.level, float(band.lower[at]), float(band.upper[at])),
                confidence=_coverage(found, band.level),
                scale=_scale(found),
            ),
            features=json.dumps({"history_points": len(grid.units)}),
        )
        for at, (start, end) in enumerate(grid.following(found.mean.size))
    ]


def _coverage(found: "Forecast", level: float) -> float | None:
    """Return how often intervals of this level held in the back-test."""
    measured = () if found.back_test is None else found.back_test.coverage
    return next((each.covered_ratio for each in measured if each.level == level), None)


def _scale(found: "Forecast") -> float | None:
    """Return what the mean absolute scaled error of the back-test is scaled by."""
    errors = found.back_test and found.back_test.errors
    return errors.mean_absolute_error / errors.mase if errors and errors.mase else None
