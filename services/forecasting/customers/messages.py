"""How what is said of customers is told."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from brain.forecasting.v1 import customers_pb2 as pb

from services.forecasting.customers.predicting import VERSION, Churn, Values, ValueScores
from shared.people import to_reference
from shared.timestamps import from_micros
from shared.who import Who

if TYPE_CHECKING:
    from services.forecasting.customers.scoring import Scores

_BANDS = 10
NOT_KNOWN = "nobody's contract has lasted long enough to tell"


def model(name: str, parameters: Mapping[str, float]) -> pb.CustomerModel:
    """Return a model as a message."""
    return pb.CustomerModel(name=name, version=VERSION, parameters=parameters)


def churn_customer(found: Churn, row: int, people: Mapping[int, Who]) -> pb.CustomerChurn:
    """Return what is said of one customer."""
    leaves = float(found.leaves[row])
    known = not math.isnan(leaves)
    message = pb.CustomerChurn(
        churn_ratio=leaves if known else None,
        alive_ratio=None if found.alive is None else float(found.alive[row]),
        purchases=int(found.purchases[row]),
        last_time=from_micros(int(found.last[row])),
        reason="" if known else NOT_KNOWN,
    )
    who = people.get(int(found.keys[row]))
    if who is not None:
        message.user.CopyFrom(to_reference(who))
    return message


def churn_bands(found: Churn) -> Sequence[pb.ChurnBand]:
    """Return how many customers are how likely to leave."""
    counts, edges = np.histogram(found.leaves[~np.isnan(found.leaves)], bins=_BANDS, range=(0, 1))
    return [
        pb.ChurnBand(lower_ratio=lower, upper_ratio=upper, customers=customers)
        for lower, upper, customers in zip(
            edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True
        )
    ]


def churn_scores(scores: "Scores | None") -> pb.ChurnHoldOut | None:
    """Return the scores of the hold-out."""
    if scores is None:
        return None
    return pb.ChurnHoldOut(
        customers=scores.customers,
        brier=scores.brier,
        brier_of_share=scores.brier_of_share,
        auc=scores.auc,
        calibration_error=scores.calibration_error,
        bins=[
            pb.CalibrationBin(
                customers=each.customers,
                predicted_ratio=each.predicted_ratio,
                observed_ratio=each.observed_ratio,
            )
            for each in scores.bins
        ],
    )


def value_customer(found: Values, row: int, people: Mapping[int, Who]) -> pb.CustomerValue:
    """Return what is said of one customer."""
    message = pb.CustomerValue(
        spent=float(found.spent[row]),
        expected_purchases=float(found.purchases[row]),
        expected_amount=float(found.amounts[row]),
        expected_value=float(found.totals[row]),
    )
    who = people.get(int(found.keys[row]))
    if who is not None:
        message.user.CopyFrom(to_reference(who))
    return message


def value_scores(scores: ValueScores | None) -> pb.ValueHoldOut | None:
    """Return the scores of the hold-out."""
    if scores is None:
        return None
    return pb.ValueHoldOut(
        customers=scores.customers,
        predicted_total=scores.predicted,
        actual_total=scores.actual,
        mean_absolute_error=scores.mean_absolute_error,
        predicted_purchases=scores.predicted_purchases,
        actual_purchases=scores.actual_purchases,
    )


def bands(found: Values) -> Sequence[pb.ValueBand]:
    """Return tenths of the customers by rising expected value."""
    ordered = np.sort(found.totals)
    return [
        pb.ValueBand(
            lower=float(part[0]),
            upper=float(part[-1]),
            customers=part.size,
            expected_value=float(part.sum()),
        )
        for part in np.array_split(ordered, min(_BANDS, ordered.size))
    ]
