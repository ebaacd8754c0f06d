"""The job that reads what came of predictions whose periods are over. Any number of replicas may run it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import grpc
import numpy as np
from brain.forecasting.v1 import forecasts_pb2

from services.forecasting.customers.keeping import CustomerKeeper
from services.forecasting.customers.reading import CustomerReader
from services.forecasting.predictions import store
from services.forecasting.predictions.prediction import Actual, Prediction, accuracy
from services.forecasting.sources import EVENTS, MetricKey, Sources
from shared.calendar import MICROS
from shared.chores import Chore
from shared.errors import ServiceError
from shared.validation import Violations

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from services.forecasting.predictions.store import Claimed
    from services.forecasting.series import Grid

_log = logging.getLogger(__name__)

_AT_ONCE = 500
# Who claimed a prediction and died, or found no value yet, leaves it to be looked at again after this.
AGAIN_MICROS = 600 * MICROS
# A value that has not come by then will not.
GIVE_UP_MICROS = 30 * 86_400 * MICROS
_REST_SECONDS = 30.0
# Widest range that one query reads; predictions of one metric further apart are read apart.
_UNITS_OF_A_QUERY = 1_000


@dataclass(frozen=True)
class ActualReader:
    """Reads actual values and keeps them with their accuracy."""

    engine: "Engine"
    sources: Sources
    customers: CustomerKeeper
    # None where this service knows no events service.
    events: CustomerReader | None
    clock: Callable[[], int]

    def step(self) -> int:
        """Look after the predictions that are due, at most 500; return how many there were."""
        now = self.clock()
        with self.engine.begin() as connection:
            claimed = store.claim(connection, now, now + AGAIN_MICROS, _AT_ONCE)
        about_metrics = [each.kept.prediction for each in claimed if each.kept.prediction.reference]
        found = self._read(about_metrics) | self._of_people(claimed)
        old = [each for each in _ids(claimed, now - GIVE_UP_MICROS) if each not in found]
        with self.engine.begin() as connection:
            for prediction_id, actual in sorted(found.items()):
                store.record(connection, prediction_id, actual, None)
            store.settle(connection, [*found, *old])
        return len(claimed)

    def _read(self, predictions: Sequence[Prediction]) -> dict[str, Actual]:
        """Return what came, by prediction; what a source cannot say now is left out."""
        found: dict[str, Actual] = {}
        for reference, group in groupby(predictions, key=lambda each: each.reference):
            asked = list(group)
            for at in range(0, len(asked), _UNITS_OF_A_QUERY):
                found |= self._of_metric(reference, asked[at : at + _UNITS_OF_A_QUERY])
        return found

    def _of_people(self, claimed: "Sequence[Claimed]") -> dict[str, Actual]:
        if self.events is None:
            return {}
        try:
            values = self.customers.values(claimed, self.events)
        except grpc.RpcError as error:  # another look comes, until it is given up
            _log.warning("no actual value", extra={"source": EVENTS, "error": type(error).__name__})
            return {}
        now = self.clock()
        about = {each.kept.prediction.prediction_id: each.kept.prediction for each in claimed}
        return {
            name: Actual(value, accuracy(about[name].type, about[name].predicted, value), now)
            for name, value in values.items()
        }

    def _of_metric(self, reference: bytes, predictions: Sequence[Prediction]) -> dict[str, Actual]:
        key = self.sources.key(Violations(), "", forecasts_pb2.MetricReference.FromString(reference))
        try:
            values = self._values(key, predictions)
        except (ServiceError, grpc.RpcError) as error:  # another look comes, until it is given up
            _log.warning("no actual value", extra={"source": key.source, "error": type(error).__name__})
            return {}
        now = self.clock()
        return {
            each.prediction_id: Actual(value, accuracy(each.type, each.predicted, value), now)
            for each in predictions
            if (value := values.get(each.start)) is not None
        }

    def _values(self, key: MetricKey, predictions: Sequence[Prediction]) -> dict[int, float]:
        units = sorted({(each.start, each.end) for each in predictions})
        found: dict[int, float] = {}
        for run in _runs(units):
            found |= _known(self.sources.read(key, run, ""))
        return found


def _runs(units: Sequence[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Return units that follow one another together."""
    runs: list[list[tuple[int, int]]] = []
    for unit in units:
        if runs and runs[-1][-1][1] == unit[0]:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    return runs


def _known(grid: "Grid") -> dict[int, float]:
    starts = [start for start, _ in grid.units]
    return {
        start: value for start, value in zip(starts, grid.values.tolist(), strict=True) if not np.isnan(value)
    }


def _ids(claimed: "Sequence[Claimed]", ended_before: int) -> list[str]:
    return [each.kept.prediction.prediction_id for each in claimed if each.kept.prediction.end < ended_before]


def actual_values(reader: ActualReader) -> Chore:
    """Read actual values as they come."""
    return Chore("actual values", lambda: 0.0 if reader.step() == _AT_ONCE else _REST_SECONDS)
