"""Demand that comes now and then: most buckets are 0.

Teunter, Syntetos, Babai 2011, "Intermittent demand: linking forecasting to inventory obsolescence" (TSB): the
chance of demand is smoothed at every step, its size at those with demand; so it fades when demand stops, and
is not biased upwards as Croston's method is. What is forecast is the mean, whose sum is the expected total.
"""

import numpy as np

from services.forecasting.models.paths import Model, Paths, flat
from services.forecasting.models.values import Values

_ALPHA_SIZE = 0.1
_ALPHA_CHANCE = np.array([0.02, 0.05, 0.1, 0.2])
_INTERVAL_LIMIT = 1.32  # steps between demands: Syntetos, Boylan, Croston 2005, figure 4


def is_intermittent(values: Values, period: int) -> bool:
    """Tell whether demand comes less often than every 1.32 steps, places that are always 0 left out."""
    cycles = len(values) // period
    whole = values[len(values) - cycles * period :].reshape(cycles, period)
    open_places = (whole != 0).any(axis=0) if cycles > 1 else np.ones(period, dtype=np.bool_)
    demands = np.count_nonzero(whole)
    return bool((values >= 0).all() and demands and open_places.sum() * cycles / demands > _INTERVAL_LIMIT)


def tsb() -> Model:
    """Return TSB with the smoothing of the chance that predicted demand best so far."""

    def paths(rows: Values, horizon: int) -> Paths:
        demand = rows > 0
        start = max(1, rows.shape[1] // 2)
        chance = np.repeat(demand[:, :start].mean(axis=1)[:, None], len(_ALPHA_CHANCE), axis=1)
        size = rows.sum(axis=1) / np.maximum(demand.sum(axis=1), 1)
        squares = np.zeros_like(chance)
        for step, comes in zip(rows.T, demand.T, strict=True):
            error = comes[:, None] - chance
            squares += error * error
            chance = chance + _ALPHA_CHANCE * error
            size = np.where(comes, size + _ALPHA_SIZE * (step - size), size)
        best = squares.argmin(axis=1)
        return flat(chance[np.arange(len(rows)), best] * size, horizon)

    return Model("tsb", "how often demand comes times how large it is (TSB)", paths)
