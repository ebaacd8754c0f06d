"""/api/analytics/predictions: predictions that are kept, and how good they were."""

from typing import TYPE_CHECKING, Final, TypeVar

from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from brain.forecasting.v1 import predictions_pb2 as pb

from gateway.rest.operations import Asked, Operation
from gateway.rest.parameters import choice, number, pairs, text
from gateway.rest.predictions import INTERVALS, PATH, SERVICE
from gateway.rest.ranges import END, START, asked_range, is_given
from gateway.rest.reading import fill
from gateway.rest.representation import descriptor_of
from shared.validation import Violations

if TYPE_CHECKING:
    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

_TYPE = choice(
    "type",
    "Only predictions of this type. Default: all.",
    {
        "revenue": pb.PREDICTION_TYPE_REVENUE,
        "churn": pb.PREDICTION_TYPE_CHURN,
        "ltv": pb.PREDICTION_TYPE_LIFETIME_VALUE,
        "demand": pb.PREDICTION_TYPE_DEMAND,
        "metric": pb.PREDICTION_TYPE_METRIC,
    },
)
_SOURCE = text("source", "Only about metrics of this service.")
_METRIC = text("metric", "Only about this metric.")
_LABELS = pairs("label", "Only about the metric with exactly these labels, as event=sold; may be repeated.")
_USER = text("userId", "Only about this user.")
_VERSION = text("modelVersion", "Only by this version of the models.")
_INTERVAL = choice("interval", "Only of points of this length.", INTERVALS)
_SELECTION = (_TYPE, _SOURCE, _METRIC, _LABELS, _USER, START, END, _VERSION, _INTERVAL)
_ANSWERS: Final = {"true": True, "false": False}
_KNOWN = choice("onlyWithActual", "Only those whose actual value is known. Default: false.", _ANSWERS)
_JOINED = choice("joinHorizons", "Do not tell horizons apart. Default: false.", _ANSWERS)
_LIMIT = number("limit", "Predictions on a page. Default: 100.", 1, 1_000)
_PAGE_TOKEN = text("pageToken", "The nextPageToken of the page before, with the same other parameters.")


def _selection(asked: Asked) -> pb.PredictionSelection:
    given = asked.given
    user_id = given.maybe(_USER)
    return pb.PredictionSelection(
        type=given.one(_TYPE, pb.PREDICTION_TYPE_UNSPECIFIED),
        source=given.one(_SOURCE, ""),
        metric=given.one(_METRIC, ""),
        labels=dict(given.every(_LABELS)),
        user=None
        if user_id is None
        else events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=user_id),
        time_range=asked_range(asked) if is_given(asked) else None,
        model_version=given.one(_VERSION, ""),
        interval=given.one(_INTERVAL, common_pb2.INTERVAL_UNSPECIFIED),
    )


def _list(asked: Asked) -> pb.ListPredictionsRequest:
    return pb.ListPredictionsRequest(
        selection=_selection(asked),
        only_with_actual=asked.given.one(_KNOWN, default=False),
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
    )


def _accuracy(asked: Asked) -> pb.GetPredictionAccuracyRequest:
    return pb.GetPredictionAccuracyRequest(
        selection=_selection(asked), join_horizons=asked.given.one(_JOINED, default=False)
    )


def _save(asked: Asked) -> pb.SavePredictionRequest:
    return pb.SavePredictionRequest(prediction=_filled(asked, pb.Prediction(), "predicted"))


def _record(asked: Asked) -> pb.RecordActualRequest:
    return _filled(asked, pb.RecordActualRequest(), "actual")


def _filled(asked: Asked, message: M, number_name: str) -> M:
    """Return the message of the body, which must have its number: 0 would be a guess."""
    violations = Violations()
    fill(violations, message, asked.body)
    if asked.body.get(number_name) is None:
        violations.add(number_name, "is required")
    violations.raise_if_any()
    return message


_OF_SELECTION: Final = {
    "selection.labels": "label",
    "selection.user.id": "userId",
    "selection.user": "userId",
    "selection.time_range": "",
    "selection": "",
    "page_size": "limit",
}

OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "list",
        f"{SERVICE}.ListPredictions",
        "List kept predictions, those of the latest periods first.",
        (*_SELECTION, _KNOWN, _LIMIT, _PAGE_TOKEN),
        _list,
        fields=_OF_SELECTION,
    ),
    Operation(
        "GET",
        PATH,
        "accuracy",
        f"{SERVICE}.GetPredictionAccuracy",
        "Tell how good predictions were whose period is over.",
        (*_SELECTION, _JOINED),
        _accuracy,
        fields=_OF_SELECTION,
    ),
    Operation(
        "POST",
        PATH,
        "save",
        f"{SERVICE}.SavePrediction",
        "Keep a prediction made elsewhere, once for each predictionId.",
        (),
        _save,
        descriptor_of(pb.Prediction),
        {"prediction": ""},
    ),
    Operation(
        "POST",
        PATH,
        "actual",
        f"{SERVICE}.RecordActual",
        "Say what came of a prediction.",
        (),
        _record,
        descriptor_of(pb.RecordActualRequest),
    ),
)
