"""The calls that keep predictions and say how good they were."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from brain.forecasting.v1 import predictions_pb2 as pb

from services.forecasting.forecasts.keeping import reference_of
from services.forecasting.predictions import accuracies, messages, store
from services.forecasting.predictions.prediction import Actual, Kept, Prediction, PredictionType, accuracy
from services.forecasting.predictions.selection import Selection
from services.forecasting.sources import Sources
from shared import audit
from shared.audit import AuditEntry
from shared.calendar import buckets
from shared.calls import current_caller
from shared.errors import AlreadyExists, FailedPrecondition, NotFound
from shared.pagination import decode_token, encode_token
from shared.people import UserDictionary, who_of
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc
    from sqlalchemy import Connection, Engine

    from services.forecasting.sources import MetricKey

# No key of anybody: selects nothing.
_NOBODY = -1


@dataclass(frozen=True)
class PredictionCalls:
    """Keeps, lists and scores predictions."""

    engine: "Engine"
    sources: Sources
    users: UserDictionary
    clock: Callable[[], int]
    grace_micros: int

    def SavePrediction(
        self, request: pb.SavePredictionRequest, context: "grpc.ServicerContext"
    ) -> pb.SavePredictionResponse:
        """Keep a prediction."""
        violations, asked = Violations(), request.prediction
        key = None
        if asked.HasField("metric"):
            key = self.sources.key(violations, "prediction.metric", asked.metric)
        reference = b"" if key is None else reference_of(key).SerializeToString(deterministic=True)
        who = who_of(violations, "prediction.user", asked.user) if asked.HasField("user") else None
        prediction = messages.taken(violations, asked, key, reference)
        if key is not None and not len(violations):
            _check_period(violations, key, prediction)
        violations.raise_if_any()
        if key is not None:
            self.sources.descriptor(key)
        now = self.clock()
        with self.engine.begin() as connection:
            if who is not None:
                _refuse_erased(self.users.erased(connection, [who]).get(who), prediction)
                prediction = replace(prediction, user_key=self.users.hold(connection, [who])[who])
            grace = self.grace_micros if reference else None
            if store.add(connection, [prediction], None, now, grace):
                _record(connection, "SavePrediction", prediction.prediction_id)
            kept = _read(connection, prediction.prediction_id)
            if kept.prediction != replace(prediction, features=kept.prediction.features):
                message = f"another prediction has the id {prediction.prediction_id!r}"
                raise AlreadyExists(message, "PREDICTION_ALREADY_EXISTS")
            return pb.SavePredictionResponse(prediction=self._told(connection, [kept])[0])

    def RecordActual(
        self, request: pb.RecordActualRequest, context: "grpc.ServicerContext"
    ) -> pb.RecordActualResponse:
        """Keep what came."""
        violations = Violations()
        prediction_id = messages.prediction_id(violations, "prediction_id", request.prediction_id)
        value = messages.given(violations, "actual", request)
        violations.raise_if_any()
        caller = current_caller().subject
        with self.engine.begin() as connection:
            prediction = _read(connection, prediction_id).prediction
            if prediction.type is PredictionType.CHURN and value not in {0, 1}:
                violations.add("actual", "of churn is 0 or 1")
                violations.raise_if_any()
            good = accuracy(prediction.type, prediction.predicted, value)
            store.record(connection, prediction_id, Actual(value, good, self.clock()), caller)
            store.settle(connection, [prediction_id])
            _record(connection, "RecordActual", prediction_id)
            kept = _read(connection, prediction_id)
            return pb.RecordActualResponse(prediction=self._told(connection, [kept])[0])

    def ListPredictions(
        self, request: pb.ListPredictionsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListPredictionsResponse:
        """List predictions."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1_000)
        position = decode_token(violations, request, request.page_token, (int, str))
        after = None if position is None else (cast("int", position[0]), cast("str", position[1]))
        with self.engine.begin() as connection:
            selection = self._selection(connection, violations, request.selection)
            found = store.list_kept(
                connection, selection, after, size + 1, only_with_actual=request.only_with_actual
            )
            page = found[:size]
            told = self._told(connection, page)
        token = ""
        if len(found) > size:
            last = page[-1].prediction
            token = encode_token(request, [last.start, last.prediction_id])
        return pb.ListPredictionsResponse(predictions=told, next_page_token=token)

    def GetPredictionAccuracy(
        self, request: pb.GetPredictionAccuracyRequest, context: "grpc.ServicerContext"
    ) -> pb.GetPredictionAccuracyResponse:
        """Say how good predictions were."""
        with self.engine.begin() as connection:
            selection = self._selection(connection, Violations(), request.selection)
            rows = accuracies.read(connection, selection, join_horizons=request.join_horizons)
            pending = accuracies.pending(connection, selection)
        return pb.GetPredictionAccuracyResponse(
            accuracies=[
                pb.PredictionAccuracy(
                    **{**row, "type": messages.TYPE_NUMBERS[PredictionType(row["type"])]},
                )
                for row in rows
            ],
            pending=pending,
        )

    def _selection(
        self, connection: "Connection", violations: Violations, asked: pb.PredictionSelection
    ) -> Selection:
        """Return the conditions; raise InvalidArgument with what is wrong."""
        selection = messages.selection(violations, asked)
        who = who_of(violations, "selection.user", asked.user) if asked.HasField("user") else None
        violations.raise_if_any()
        if who is None:
            return selection
        key = self.users.find(connection, [who]).get(who)
        return replace(selection, user_key=_NOBODY if key is None else key)

    def _told(self, connection: "Connection", kept: "Sequence[Kept]") -> list[pb.Prediction]:
        keys = {each.prediction.user_key for each in kept}
        people = self.users.read_in(connection, [key for key in keys if key is not None])
        return [messages.to_message(each, people) for each in kept]


def _check_period(violations: Violations, key: "MetricKey", prediction: Prediction) -> None:
    start, end = prediction.start, prediction.end
    if buckets(start, start + 1, key.interval, key.zone) != [(start, end)]:
        unit = key.interval.name.lower()
        violations.add(
            "prediction.period", f"must be one {unit} of {key.zone.key}, as the metric's points are"
        )


def _refuse_erased(erased: int | None, prediction: Prediction) -> None:
    if erased is not None and prediction.start < erased:
        message = "this person was erased after the period began"
        raise FailedPrecondition(message, "USER_ERASED")


def _read(connection: "Connection", prediction_id: str) -> Kept:
    kept = store.find(connection, prediction_id)
    if kept is None:
        raise NotFound(f"there is no prediction {prediction_id!r}", "PREDICTION_UNKNOWN")
    return kept


def _record(connection: "Connection", action: str, prediction_id: str) -> None:
    audit.record(connection, AuditEntry(current_caller().subject, action, prediction_id, {}))
