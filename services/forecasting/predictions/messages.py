"""How predictions are told and taken."""

import json
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from brain.common.v1 import common_pb2
from brain.forecasting.v1 import forecasts_pb2
from brain.forecasting.v1 import predictions_pb2 as pb
from google.protobuf.json_format import MessageToJson, ParseDict
from google.protobuf.struct_pb2 import Struct

from services.forecasting.predictions.prediction import (
    Kept,
    Made,
    Prediction,
    PredictionType,
    Span,
)
from services.forecasting.predictions.selection import Selection
from shared.people import to_reference
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, optional_range, required_range, text
from shared.who import Who

if TYPE_CHECKING:
    from services.forecasting.sources import MetricKey

TYPES = {
    pb.PREDICTION_TYPE_REVENUE: PredictionType.REVENUE,
    pb.PREDICTION_TYPE_CHURN: PredictionType.CHURN,
    pb.PREDICTION_TYPE_LIFETIME_VALUE: PredictionType.LIFETIME_VALUE,
    pb.PREDICTION_TYPE_DEMAND: PredictionType.DEMAND,
    pb.PREDICTION_TYPE_METRIC: PredictionType.METRIC,
}
TYPE_NUMBERS = {kind: number for number, kind in TYPES.items()}
# Larger numbers leave the doubles where they are added and multiplied.
LARGEST = 1e150
MAXIMUM_HORIZON = 10_000
_PREDICTION_ID = re.compile(r"[A-Za-z0-9._/-]{1,200}")
_FEATURES_BYTES = 4_096
_SET_HERE = ("created_time", "actual", "actual_time", "accuracy_ratio")


def prediction_id(violations: Violations, field: str, given: str) -> str:
    """Return the id of a prediction."""
    if not _PREDICTION_ID.fullmatch(given):
        violations.add(field, 'must be 1 to 200 letters, digits and "._-/"')
    return given


def given(violations: Violations, field: str, message: pb.Prediction | pb.RecordActualRequest) -> float:
    """Return a number that a request must have, 0 being one; `field` ends in its name."""
    name = field.rpartition(".")[2]
    if not message.HasField(name):  # type: ignore[arg-type]  # they are fields with presence
        violations.add(field, "is required")
        return 0.0
    return finite(violations, field, getattr(message, name))


def finite(violations: Violations, field: str, value: float) -> float:
    """Return a number that can be worked with."""
    if not (math.isfinite(value) and abs(value) <= LARGEST):
        violations.add(field, f"must be finite and at most {LARGEST:g}")
        return 0.0
    return value


def taken(
    violations: Violations, message: pb.Prediction, key: "MetricKey | None", reference: bytes
) -> Prediction:
    """Return a prediction of a request, about nobody yet; `key` is its metric, checked."""
    field = "prediction"
    for name in _SET_HERE:
        if message.HasField(name):  # type: ignore[arg-type]  # they are fields with presence
            violations.add(f"{field}.{name}", "is set by the service")
    kind = chosen(violations, f"{field}.type", message.type, TYPES)
    if sum((message.HasField("metric"), message.HasField("user"), bool(message.target))) == 0:
        violations.add(field, "needs one of metric, user and target")
    if not message.HasField("period"):
        violations.add(f"{field}.period", "is required")
        start, end = 0, 1
    else:
        start, end = required_range(violations, f"{field}.period", _Ranged(message.period))
    predicted = given(violations, f"{field}.predicted", message)
    if kind is PredictionType.CHURN and not 0 <= predicted <= 1:
        violations.add(f"{field}.predicted", "is a probability: 0 to 1")
    return Prediction(
        prediction_id=prediction_id(violations, f"{field}.prediction_id", message.prediction_id),
        type=kind,
        source=key.source if key else "",
        metric=key.query.name if key else "",
        labels=dict(key.query.labels) if key else {},
        reference=reference,
        interval=key.query.interval if key else common_pb2.INTERVAL_UNSPECIFIED,
        user_key=None,
        target=text(violations, f"{field}.target", message.target, maximum=200, required=False),
        start=start,
        end=end,
        predicted=predicted,
        made=_made(violations, field, message),
        features=_features(violations, f"{field}.features", message),
    )


class _Ranged:
    """A period as what checks of ranges take."""

    def __init__(self, period: common_pb2.TimeRange) -> None:
        self.time_range = period

    def HasField(self, _name: str, /) -> bool:  # noqa: N802 - protobuf's name
        return True


def _made(violations: Violations, field: str, message: pb.Prediction) -> Made:
    horizon = message.horizon or 1
    if not 1 <= horizon <= MAXIMUM_HORIZON:
        violations.add(f"{field}.horizon", f"must be 1 to {MAXIMUM_HORIZON:,}")
    confidence = message.confidence_ratio if message.HasField("confidence_ratio") else None
    if confidence is not None and not 0 <= confidence <= 1:
        violations.add(f"{field}.confidence_ratio", "must be 0 to 1")
    scale = message.scale if message.HasField("scale") else None
    if scale is not None and not 0 < scale <= LARGEST:
        violations.add(f"{field}.scale", "must be above 0")
    return Made(
        model=text(violations, f"{field}.model", message.model, maximum=100),
        version=text(violations, f"{field}.model_version", message.model_version, maximum=100),
        horizon=horizon,
        span=_span(violations, f"{field}.interval", message),
        confidence=confidence,
        scale=scale,
    )


def _span(violations: Violations, field: str, message: pb.Prediction) -> Span | None:
    if not message.HasField("interval"):
        return None
    interval = message.interval
    if not 0 < interval.level_ratio < 1:
        violations.add(f"{field}.level_ratio", "must lie between 0 and 1")
    lower, upper = (
        finite(violations, f"{field}.{name}", value)
        for name, value in (("lower", interval.lower), ("upper", interval.upper))
    )
    if lower > upper:
        violations.add(field, "has its lower end above the upper")
    return Span(interval.level_ratio, lower, upper)


def _features(violations: Violations, field: str, message: pb.Prediction) -> str | None:
    if not message.HasField("features"):
        return None
    try:
        written = MessageToJson(message.features, indent=None)
    except (ValueError, RecursionError):  # NaN, infinity, nested too deeply
        violations.add(field, "is not JSON")
        return None
    if len(written.encode()) > _FEATURES_BYTES or "\\u0000" in written:
        violations.add(field, f"must be at most {_FEATURES_BYTES:,} bytes of JSON, without NUL")
    return written


def to_message(kept: Kept, people: Mapping[int, Who]) -> pb.Prediction:
    """Return a prediction as a message."""
    prediction, made, actual = kept.prediction, kept.prediction.made, kept.actual
    message = pb.Prediction(
        prediction_id=prediction.prediction_id,
        type=TYPE_NUMBERS[prediction.type],
        target=prediction.target,
        period=common_pb2.TimeRange(
            start_time=from_micros(prediction.start), end_time=from_micros(prediction.end)
        ),
        predicted=prediction.predicted,
        confidence_ratio=made.confidence,
        horizon=made.horizon,
        model=made.model,
        model_version=made.version,
        created_time=from_micros(kept.created),
        scale=made.scale,
    )
    if prediction.reference:
        message.metric.CopyFrom(forecasts_pb2.MetricReference.FromString(prediction.reference))
    if prediction.user_key is not None and prediction.user_key in people:
        message.user.CopyFrom(to_reference(people[prediction.user_key]))
    if made.span is not None:
        span = made.span
        message.interval.CopyFrom(
            forecasts_pb2.ForecastInterval(level_ratio=span.level, lower=span.lower, upper=span.upper)
        )
    if prediction.features is not None:
        message.features.CopyFrom(ParseDict(json.loads(prediction.features), Struct()))
    if actual is not None:
        message.actual = actual.value
        message.actual_time.CopyFrom(from_micros(actual.recorded))
        message.accuracy_ratio = actual.accuracy
    return message


def selection(violations: Violations, message: pb.PredictionSelection) -> Selection:
    """Return the conditions of a request, but for the person."""
    field = "selection"
    kind = chosen(violations, f"{field}.type", message.type, TYPES) if message.type else None
    if message.interval not in common_pb2.Interval.values():
        violations.add(f"{field}.interval", "has no such value")
    period = optional_range(violations, f"{field}.time_range", message)
    return Selection(
        type=kind,
        source=text(violations, f"{field}.source", message.source, maximum=100, required=False) or None,
        metric=text(violations, f"{field}.metric", message.metric, maximum=100, required=False) or None,
        labels=dict(message.labels) or None,
        period=period,
        version=text(violations, f"{field}.model_version", message.model_version, maximum=100, required=False)
        or None,
        interval=message.interval or None,
    )
