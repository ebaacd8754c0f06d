"""Gamma-Gamma: how much customers spend at a purchase.

Fader, Hardie, "The Gamma-Gamma model of monetary value", 2013; (n) is an equation there. Amounts of one
customer are Gamma distributed with shape p and a rate that is Gamma(q, gamma) over customers, independent of
how often they buy.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from services.forecasting.customers.fitting import UnfittableError, fitted

if TYPE_CHECKING:
    from services.forecasting.customers.histories import Histories

_LEAST_CUSTOMERS = 3


@dataclass(frozen=True, slots=True)
class GammaGamma:
    """Fitted parameters; gamma is in the currency."""

    p: float
    q: float
    gamma: float

    def amount(self, histories: "Histories") -> NDArray[np.float64]:
        """Return the expected amount of each customer's purchases, (n,): (5).

        Where q ≤ 1 the mean over customers does not exist; those without a repeat purchase then have NaN.
        """
        paid = _paid(histories)
        x = np.where(paid, histories.frequency, 0.0)
        weight = self.p * x + self.q - 1
        spent = np.where(paid, x * histories.repeat_amount, 0.0)
        amounts: NDArray[np.float64] = np.divide(
            self.p * (self.gamma + spent), weight, out=np.full(x.size, np.nan), where=weight > 0
        )
        return amounts


def fit(histories: "Histories") -> GammaGamma:
    """Return the parameters of greatest likelihood, from those who bought again for an amount above 0.

    Raises:
        UnfittableError: they are fewer than three, or all spend the same.

    """
    paid = _paid(histories)
    amounts = histories.repeat_amount[paid]
    if amounts.size < _LEAST_CUSTOMERS:
        raise UnfittableError("fewer than three customers have bought again for an amount above 0")
    scale = float(np.mean(amounts))
    if np.ptp(amounts) < 1e-9 * scale:
        raise UnfittableError("every customer spends the same amount")
    x, relative = histories.frequency[paid], amounts / scale
    p, q, gamma = fitted(lambda found: _log_likelihood(found, x, relative) / x.size, (2.0, 3.0, 1.0))
    return GammaGamma(p, q, gamma * scale)


def _paid(histories: "Histories") -> NDArray[np.bool_]:
    return (histories.frequency > 0) & (histories.repeat_amount > 0)


def _log_likelihood(
    parameters: NDArray[np.float64], x: NDArray[np.float64], amounts: NDArray[np.float64]
) -> float:
    """Return the log-likelihood of (p, q, gamma): (1a)."""
    p, q, gamma = parameters
    terms = (
        gammaln(p * x + q)
        - gammaln(p * x)
        - gammaln(q)
        + q * np.log(gamma)
        + (p * x - 1) * np.log(amounts)
        + p * x * np.log(x)
        - (p * x + q) * np.log(gamma + amounts * x)
    )
    return float(np.sum(terms))
