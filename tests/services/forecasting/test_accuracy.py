"""How good a prediction was."""

from hypothesis import given
from hypothesis import strategies as st

from services.forecasting.predictions.prediction import PredictionType, accuracy


@given(predicted=st.floats(-1e6, 1e6), actual=st.floats(-1e6, 1e6))
def test_accuracy_lies_between_nothing_and_all(predicted: float, actual: float) -> None:
    for kind in PredictionType:
        assert 0 <= accuracy(kind, predicted, actual) <= 1
    assert accuracy(PredictionType.METRIC, predicted, predicted) == 1
    assert accuracy(PredictionType.METRIC, predicted, actual) == accuracy(
        PredictionType.METRIC, actual, predicted
    )
