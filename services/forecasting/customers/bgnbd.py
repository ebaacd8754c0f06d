"""BG/NBD: how often customers buy, and whether they still do.

Fader, Hardie, Lee, "“Counting your customers” the easy way: an alternative to the Pareto/NBD model",
Marketing Science 24, 2005; (n) is an equation there. Customers buy at rates distributed as Gamma(r, α) and
drop out after a purchase with probabilities distributed as Beta(a, b). Times are in weeks.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln, hyp2f1

from services.forecasting.customers.fitting import UnfittableError, fitted

if TYPE_CHECKING:
    from services.forecasting.customers.histories import Histories

# Equation (10) is a quotient of two zeros at a = 1.
_NEAR_ONE = 1e-6
# More make the parameters no better by anything that matters, and take longer.
_FITTED_CUSTOMERS = 20_000


@dataclass(frozen=True, slots=True)
class BgNbd:
    """Fitted parameters and the log-likelihood they have."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float

    def alive(self, histories: "Histories") -> NDArray[np.float64]:
        """Return the probability that each has not dropped out, (n,).

        Fader, Hardie, "Computing P(alive) using the BG/NBD model", 2008.
        """
        x = histories.frequency
        ratio = (self.alpha + histories.age) / (self.alpha + histories.recency)
        odds = np.where(x > 0, self.a / (self.b + x - 1 + (x == 0)), 0.0) * ratio ** (self.r + x)
        alive: NDArray[np.float64] = 1 / (1 + odds)
        return alive

    def no_purchase(self, histories: "Histories", weeks: float) -> NDArray[np.float64]:
        """Return the probability that each buys nothing in the next `weeks`, (n,).

        Who is alive stays so until the next purchase, and buys none with E[exp(−λ·weeks)] where λ is
        Gamma(r + x, α + T).
        """
        shape, rate = self.r + histories.frequency, self.alpha + histories.age
        waits = np.exp(shape * np.log(rate / (rate + weeks)))
        quiet: NDArray[np.float64] = 1 - self.alive(histories) * (1 - waits)
        return quiet

    def purchases(self, histories: "Histories", weeks: float) -> NDArray[np.float64]:
        """Return the expected number of purchases of each in the next `weeks`, (n,): (10).

        Raises:
            UnfittableError: (10) cannot be computed, as where everybody buys alike and r grows without end.

        """
        a = 1 + _NEAR_ONE if abs(self.a - 1) < _NEAR_ONE else self.a
        x, age = histories.frequency, histories.age
        rate = self.alpha + age
        series = hyp2f1(self.r + x, self.b + x, a + self.b + x - 1, weeks / (rate + weeks))
        waits = np.exp((self.r + x) * np.log(rate / (rate + weeks)))
        if_alive = (a + self.b + x - 1) / (a - 1) * (1 - waits * series)
        expected: NDArray[np.float64] = np.maximum(if_alive, 0) * self.alive(histories)
        if not np.all(np.isfinite(expected)):
            raise UnfittableError("customers differ too little in how often they buy")
        return expected


def fit(histories: "Histories") -> BgNbd:
    """Return the parameters of greatest likelihood, from at most 20,000 customers, drawn with a fixed seed.

    Raises:
        UnfittableError: nobody bought twice, or no maximum was found.

    """
    if not np.any(histories.frequency > 0):
        raise UnfittableError("nobody has bought on two days yet")
    # In units of the longest age: the search is as easy in hours as in years.
    scale = float(np.max(histories.age))
    rows = _drawn(histories.frequency.size)
    seen = _Seen.of(histories, rows, 1 / scale)
    r, alpha, a, b = fitted(lambda found: seen.log_likelihood(found) / rows.size, (1.0, 1.0, 1.0, 1.0))
    everybody = _Seen.of(histories, np.arange(histories.frequency.size), 1.0)
    likelihood = everybody.log_likelihood(np.array([r, alpha * scale, a, b]))
    return BgNbd(r, alpha * scale, a, b, likelihood)


def _drawn(customers: int) -> NDArray[np.int64]:
    if customers <= _FITTED_CUSTOMERS:
        return np.arange(customers)
    return np.random.default_rng(0).choice(customers, _FITTED_CUSTOMERS, replace=False)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Histories as the likelihood takes them: few different frequencies, and which each customer has."""

    frequencies: NDArray[np.float64]
    which: NDArray[np.intp]
    customers: NDArray[np.intp]
    recency: NDArray[np.float64]
    age: NDArray[np.float64]

    @classmethod
    def of(cls, histories: "Histories", rows: NDArray[np.int64], unit: float) -> "_Seen":
        """Take these rows, times multiplied by `unit`."""
        frequencies, which, customers = np.unique(
            histories.frequency[rows], return_inverse=True, return_counts=True
        )
        recency, age = histories.recency[rows] * unit, histories.age[rows] * unit
        return cls(frequencies, which, customers, recency, age)

    def log_likelihood(self, parameters: NDArray[np.float64]) -> float:
        """Return the log-likelihood of (r, α, a, b): (6)."""
        r, alpha, a, b = parameters
        x = self.frequencies
        alike = gammaln(r + x) - gammaln(r) + r * np.log(alpha) + betaln(a, b + x) - betaln(a, b)
        # B(a + 1, b + x − 1) ÷ B(a, b + x) = a ÷ (b + x − 1); who never came back cannot have left.
        left = np.log(a) - np.log(np.where(x > 0, b + x - 1, np.inf))
        shape = (r + x)[self.which]
        staying = -shape * np.log(alpha + self.age)
        leaving = left[self.which] - shape * np.log(alpha + self.recency)
        return float(self.customers @ alike + np.sum(np.logaddexp(staying, leaving)))
