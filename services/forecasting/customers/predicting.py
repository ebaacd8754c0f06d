"""Churn and value of customers, with a hold-out that says how good they are. Pure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.forecasting.customers import bgnbd, gamma_gamma
from services.forecasting.customers.bgnbd import BgNbd
from services.forecasting.customers.contracts import Contracts
from services.forecasting.customers.fitting import UnfittableError
from services.forecasting.customers.histories import Histories, Purchases, histories, outcomes
from services.forecasting.customers.scoring import Scores, score
from services.forecasting.customers.survival import kaplan_meier
from shared.calendar import DAY_MICROS

# Of all models of customers together: changed whenever what they say of equal purchases changes.
VERSION = "2026-11"
_DAYS_PER_WEEK = 7
_TOO_DIFFERENT = "who bought once is expected to spend the mean amount: customers differ too much in theirs"
_NO_HOLD_OUT = "no hold-out: the history is too short to keep its last horizon from the model"


@dataclass(frozen=True, slots=True)
class Churn:
    """Probabilities of leaving, (n,), in the order of `keys`; NaN where nothing can be said."""

    keys: NDArray[np.int64]
    leaves: NDArray[np.float64]
    alive: NDArray[np.float64] | None
    purchases: NDArray[np.int64]
    last: NDArray[np.int64]
    parameters: dict[str, float]
    hold_out: Scores | None
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueScores:
    """Totals and error of values in the hold-out."""

    customers: int
    predicted: float
    actual: float
    mean_absolute_error: float
    predicted_purchases: float
    actual_purchases: float


@dataclass(frozen=True, slots=True)
class Values:
    """What customers will spend, (n,), in the order of `keys`."""

    keys: NDArray[np.int64]
    spent: NDArray[np.float64]
    purchases: NDArray[np.float64]
    amounts: NDArray[np.float64]
    parameters: dict[str, float]
    hold_out: ValueScores | None
    warnings: tuple[str, ...]

    @property
    def totals(self) -> NDArray[np.float64]:
        """What each will spend, (n,)."""
        return self.purchases * self.amounts


def churn(purchases: Purchases, end: int, horizon_days: int) -> Churn:
    """Return how likely customers are to buy nothing in the days from `end` on.

    Args:
        purchases: as `daily` returns them.
        end: Unix microseconds; what came from then on is not looked at.
        horizon_days: days.

    Raises:
        UnfittableError: the purchases carry no model.

    """
    weeks = horizon_days / _DAYS_PER_WEEK
    seen = histories(purchases, end)
    _refuse_nobody(seen)
    model = bgnbd.fit(seen)
    try:
        scores = _scored(purchases, end, horizon_days)
    except UnfittableError:
        scores = None
    return Churn(
        keys=seen.keys,
        leaves=model.no_purchase(seen, weeks),
        alive=model.alive(seen),
        purchases=seen.frequency.astype(np.int64) + 1,
        last=end - np.round((seen.age - seen.recency) * _DAYS_PER_WEEK * DAY_MICROS).astype(np.int64),
        parameters=_parameters(model),
        hold_out=scores,
        warnings=() if scores else (_NO_HOLD_OUT,),
    )


def contract_churn(contracts: Contracts, end: int, horizon_days: int) -> Churn:
    """Return how likely contracts that last are to end in the days from `end` on.

    Raises:
        UnfittableError: there are no contracts.

    """
    seen = contracts.seen_at(end)
    if not seen.keys.size:
        raise UnfittableError("there are no contracts")
    lasting = ~seen.ended
    scores = _contract_scores(contracts, end, horizon_days)
    return Churn(
        keys=seen.keys[lasting],
        leaves=_ending(seen, end, horizon_days),
        alive=None,
        purchases=np.zeros(int(lasting.sum()), np.int64),
        last=seen.starts[lasting],
        parameters={"contracts": float(seen.keys.size), "ended": float(seen.ended.sum())},
        hold_out=scores,
        warnings=() if scores else (_NO_HOLD_OUT,),
    )


def values(purchases: Purchases, end: int, horizon_days: int) -> Values:
    """Return what customers will spend in the days from `end` on; arguments and errors as of `churn`."""
    seen = histories(purchases, end)
    _refuse_nobody(seen)
    model = bgnbd.fit(seen)
    amounts, spending, warnings = _amounts(seen)
    try:
        scores = _value_scores(purchases, end, horizon_days)
    except UnfittableError:
        scores = None
    return Values(
        keys=seen.keys,
        spent=seen.spent,
        purchases=model.purchases(seen, horizon_days / _DAYS_PER_WEEK),
        amounts=amounts,
        parameters=_parameters(model) | spending,
        hold_out=scores,
        warnings=(*warnings, *(() if scores else (_NO_HOLD_OUT,))),
    )


def _refuse_nobody(seen: Histories) -> None:
    if not seen.keys.size:
        raise UnfittableError("there are no purchases")


def _parameters(model: BgNbd) -> dict[str, float]:
    return {
        "r": model.r,
        "alpha": model.alpha,
        "a": model.a,
        "b": model.b,
        "log_likelihood": model.log_likelihood,
    }


def _amounts(seen: Histories) -> tuple[NDArray[np.float64], dict[str, float], tuple[str, ...]]:
    """Return the expected amount of a purchase of each, the model's parameters, and warnings."""
    try:
        model = gamma_gamma.fit(seen)
    except UnfittableError as error:
        warning = f"everybody is expected to spend the mean amount: {error}"
        return np.full(seen.keys.size, _mean_amount(seen)), {}, (warning,)
    amounts = model.amount(seen)
    unknown = np.isnan(amounts)
    warnings = (_TOO_DIFFERENT,) if unknown.any() else ()
    parameters = {"p": model.p, "q": model.q, "gamma": model.gamma}
    return np.where(unknown, _mean_amount(seen), amounts), parameters, warnings


def _mean_amount(seen: Histories) -> float:
    """Return the mean amount of a purchase, 0 where more was given back: nobody is expected to earn."""
    return max(0.0, float(seen.spent.sum() / (seen.frequency + 1).sum()))


def _scored(purchases: Purchases, end: int, horizon_days: int) -> Scores:
    cut = end - horizon_days * DAY_MICROS
    before = histories(purchases, cut)
    _refuse_nobody(before)
    said = bgnbd.fit(before).no_purchase(before, horizon_days / _DAYS_PER_WEEK)
    return score(said, outcomes(purchases, before.keys, cut, end).purchases == 0)


def _value_scores(purchases: Purchases, end: int, horizon_days: int) -> ValueScores:
    cut = end - horizon_days * DAY_MICROS
    before = histories(purchases, cut)
    _refuse_nobody(before)
    bought = bgnbd.fit(before).purchases(before, horizon_days / _DAYS_PER_WEEK)
    spent = bought * _amounts(before)[0]
    came = outcomes(purchases, before.keys, cut, end)
    return ValueScores(
        customers=before.keys.size,
        predicted=float(spent.sum()),
        actual=float(came.amounts.sum()),
        mean_absolute_error=float(np.mean(np.abs(spent - came.amounts))),
        predicted_purchases=float(bought.sum()),
        actual_purchases=float(came.purchases.sum()),
    )


def _ending(seen: Contracts, moment: int, horizon_days: int) -> NDArray[np.float64]:
    tenures = seen.tenures(moment)
    return kaplan_meier(tenures, seen.ended).ends_within(tenures[~seen.ended], horizon_days)


def _contract_scores(contracts: Contracts, end: int, horizon_days: int) -> Scores | None:
    cut = end - horizon_days * DAY_MICROS
    before = contracts.seen_at(cut)
    if not before.keys.size or before.ended.all():
        return None
    said = _ending(before, cut, horizon_days)
    known = ~np.isnan(said)
    begun = contracts.starts < cut
    ends = contracts.ends[begun][~before.ended]
    return score(said[known], (ends < end)[known]) if known.any() else None
