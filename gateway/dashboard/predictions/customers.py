"""Who leaves and what customers will spend, as the tab Predictions shows it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from datetime import tzinfo

    from brain.events.v1.events_pb2 import UserReference
    from brain.forecasting.v1 import customers_pb2 as pb

_NOBODY = "somebody who is not known any more"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A customer who may leave."""

    who: str
    churn: str
    why: str
    purchases: str
    last: str


@dataclass(frozen=True, slots=True)
class Bin:
    """Customers of whom much the same was said: what was said, and the share that it came true for."""

    customers: str
    said: str
    came: str
    said_percent: float
    came_percent: float


@dataclass(frozen=True, slots=True)
class Churn:
    """Who leaves, and how good such probabilities were."""

    lead: str
    scores: str
    bins: tuple[Bin, ...]
    customers: tuple[Leaving, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spending:
    """A customer and what they will spend."""

    who: str
    value: str
    purchases: str
    amount: str
    spent: str


@dataclass(frozen=True, slots=True)
class Band:
    """A tenth of the customers; its length is relative to the longest."""

    span: str
    customers: str
    value: str
    share: str
    length_percent: float


@dataclass(frozen=True, slots=True)
class Value:
    """What customers will spend, and how good such sums were."""

    lead: str
    scores: str
    bands: tuple[Band, ...]
    customers: tuple[Spending, ...]
    warnings: tuple[str, ...]


def churn(found: "pb.PredictChurnResponse", days: int, zone: "tzinfo") -> Churn:
    """Return who leaves within so many days."""
    leaving, total = formats.whole(found.expected_churned), formats.whole(found.total_customers)
    return Churn(
        lead=f"{leaving} of {total} customers are expected to buy nothing within {days} days",
        scores=_churn_scores(found.hold_out) if found.HasField("hold_out") else "",
        bins=tuple(_bin(each) for each in found.hold_out.bins),
        customers=tuple(_leaving(each, zone) for each in found.customers),
        warnings=tuple(found.warnings),
    )


def _churn_scores(scores: "pb.ChurnHoldOut") -> str:
    order = f", {formats.percent(scores.auc)} of pairs in the right order" if scores.HasField("auc") else ""
    return (
        f"Tried on {formats.whole(scores.customers)} customers whose last days were kept from the model: "
        f"Brier score {formats.significant(scores.brier)} "
        f"(telling everybody the same: {formats.significant(scores.brier_of_share)}), "
        f"off by {formats.percent(scores.calibration_error)} on average{order}."
    )


def _bin(one: "pb.CalibrationBin") -> Bin:
    return Bin(
        formats.whole(one.customers),
        formats.percent(one.predicted_ratio),
        formats.percent(one.observed_ratio),
        round(100 * one.predicted_ratio, 2),
        round(100 * one.observed_ratio, 2),
    )


def _leaving(one: "pb.CustomerChurn", zone: "tzinfo") -> Leaving:
    known = one.HasField("churn_ratio")
    return Leaving(
        who=_who(one.user),
        churn=formats.percent(one.churn_ratio) if known else formats.NOTHING,
        why=one.reason,
        purchases=formats.whole(one.purchases),
        last=formats.day(formats.date_of(one.last_time, zone)),
    )


def _who(user: "UserReference") -> str:
    return user.id or _NOBODY


def value(found: "pb.PredictLifetimeValueResponse", days: int, currency: str) -> Value:
    """Return what customers will spend within so many days."""

    def money(amount: float) -> str:
        return " ".join(filter(None, (formats.short(amount), currency)))

    largest = max((each.expected_value for each in found.bands), default=0.0)
    return Value(
        lead=f"{money(found.expected_value)} expected of {formats.whole(found.total_customers)} customers "
        f"within {days} days",
        scores=_value_scores(
            found, money(found.hold_out.predicted_total), money(found.hold_out.actual_total)
        ),
        bands=tuple(
            Band(
                span=f"{money(each.lower)} to {money(each.upper)}",
                customers=formats.whole(each.customers),
                value=money(each.expected_value),
                share=formats.percent(each.expected_value / found.expected_value)
                if found.expected_value
                else formats.NOTHING,
                length_percent=round(100 * each.expected_value / largest, 2) if largest > 0 else 0.0,
            )
            for each in reversed(found.bands)
        ),
        customers=tuple(
            Spending(
                who=_who(each.user),
                value=money(each.expected_value),
                purchases=formats.significant(each.expected_purchases),
                amount=money(each.expected_amount),
                spent=money(each.spent),
            )
            for each in found.customers
        ),
        warnings=tuple(found.warnings),
    )


def _value_scores(found: "pb.PredictLifetimeValueResponse", said: str, came: str) -> str:
    if not found.HasField("hold_out"):
        return ""
    scores = found.hold_out
    return (
        f"Tried on {formats.whole(scores.customers)} customers whose last days were kept from the model: "
        f"said {said}, came {came}."
    )
