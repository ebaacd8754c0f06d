"""Predictions as they are kept, and how good one was."""

from dataclasses import dataclass
from enum import IntEnum


class PredictionType(IntEnum):
    """What a prediction is about, as stored."""

    REVENUE = 1
    CHURN = 2
    LIFETIME_VALUE = 3
    DEMAND = 4
    METRIC = 5


@dataclass(frozen=True, slots=True)
class Span:
    """An interval of one level."""

    level: float
    lower: float
    upper: float


@dataclass(frozen=True, slots=True)
class Made:
    """How a prediction was made: its model, how sure, how far ahead, and what its errors compare to."""

    model: str
    version: str
    horizon: int
    span: Span | None
    confidence: float | None
    scale: float | None


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction about [start, end) in Unix microseconds.

    `reference` is a serialized MetricReference, empty where it is about something else; `features` is JSON.
    """

    prediction_id: str
    type: PredictionType
    source: str
    metric: str
    labels: dict[str, str]
    reference: bytes
    interval: int
    user_key: int | None
    target: str
    start: int
    end: int
    predicted: float
    made: Made
    features: str | None


@dataclass(frozen=True, slots=True)
class Actual:
    """What came of a prediction, recorded at a moment in Unix microseconds."""

    value: float
    accuracy: float
    recorded: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A prediction with when it was kept, and what came of it."""

    prediction: Prediction
    created: int
    actual: Actual | None


def accuracy(kind: PredictionType, predicted: float, actual: float) -> float:
    """Return how good a prediction was, from 0 to 1; 1 where both are 0.

    1 − |predicted − actual| ÷ max(|predicted|, |actual|), at least 0; of churn 1 − |predicted − actual|.
    """
    error = abs(predicted - actual)
    if kind is PredictionType.CHURN:
        return max(0.0, 1 - error)
    larger = max(abs(predicted), abs(actual))
    return max(0.0, 1 - error / larger) if larger else 1.0
