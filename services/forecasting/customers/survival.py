"""Kaplan-Meier: how long contracts last, where their end is an event.

Kaplan, Meier, "Nonparametric estimation from incomplete observations", JASA 53, 1958.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Survival:
    """The share that lasts longer than each time: a step function, 1 before the first step.

    `times` (k,) are the tenures at which somebody ended, rising; `surviving` (k,) the share after each;
    `at_risk` (k,) how many had lasted until then. Beyond `last_seen`, the longest tenure, nothing is known.
    """

    times: NDArray[np.float64]
    surviving: NDArray[np.float64]
    at_risk: NDArray[np.int64]
    last_seen: float

    def at(self, tenures: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the share that lasts longer than each tenure; NaN beyond `last_seen` unless it is 0."""
        steps = np.concatenate(([1.0], self.surviving))
        shares = steps[np.searchsorted(self.times, tenures, side="right")]
        known: NDArray[np.float64] = np.where((tenures > self.last_seen) & (shares > 0), np.nan, shares)
        return known

    def ends_within(self, tenures: NDArray[np.float64], horizon: float) -> NDArray[np.float64]:
        """Return the probability that those of these tenures end within the horizon, (n,).

        1 − S(t + h) ÷ S(t); NaN where either is not known, or nobody lasted so long.
        """
        now, then = self.at(tenures), self.at(tenures + horizon)
        ended: NDArray[np.float64] = 1 - np.divide(
            then, now, out=np.full(tenures.size, np.nan), where=now > 0
        )
        return ended


def kaplan_meier(tenures: NDArray[np.float64], ended: NDArray[np.bool_]) -> Survival:
    """Return how long contracts last.

    Args:
        tenures: (n,) how long each lasted, or has lasted so far; at least 0, n at least 1.
        ended: (n,) whether it ended then; where it did not, it left the sight after those that ended.

    """
    times, deaths = np.unique(tenures[ended], return_counts=True)
    ordered = np.sort(tenures)
    at_risk = tenures.size - np.searchsorted(ordered, times, side="left")
    surviving = np.cumprod(1 - deaths / at_risk).astype(np.float64)
    return Survival(times, surviving, at_risk, float(ordered[-1]))
