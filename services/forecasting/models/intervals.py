"""How wide a forecast's intervals are, from what its model missed at past origins.

Errors are actual - predicted of the back-test, [origins, steps], NaN where nothing came. The spread of step k
grows like k to a power, found by likelihood; beyond the steps of the back-test at least like the root of k.
Quantiles of the errors over that spread are widened as Student's t is over the normal distribution: errors of
one origin go together, so a handful of origins knows the spread no better than a handful of values would.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from services.forecasting.models.values import Coverage, Interval, Values

_POWERS = np.linspace(0.1, 1.2, 12)
_USUAL_POWER = 0.5  # a random walk's: where the back-test is too short to tell
_STEPS_TO_TELL = 6
_CERTAIN = 4
_ORIGINS_LOST = 3  # measured: with 8 origins, 5 degrees of freedom cover what they say on NN5
_LEAST_FREEDOM = 2


@dataclass(frozen=True, slots=True)
class Spread:
    """How far a model was off: sizes over their growth (sorted), and the totals of the origins.

    `power` is that of the growth, `steps` how far the back-test looked, `total_size` the root mean square of
    an origin's total error, None where no origin has enough values. `open_places` [m] is 0 for
    places of the cycle where no error ever was, else 1, the coming step first.
    `horizons_seen` is how many stretches of `steps` the back-test saw side by side: as many totals are
    independent.
    """

    scaled_sizes: Values
    power: float
    steps: int
    origins: int
    total_size: float | None
    open_places: Values
    horizons_seen: float

    def half_widths(self, level: float, horizon: int) -> Values:
        """Return how far the interval reaches to either side of the path, [horizon]."""
        size = float(np.quantile(self.scaled_sizes, level)) * _widening(level, self.origins)
        return size * _growth(self.power, self.steps, horizon) * _cycled(self.open_places, horizon)

    def total_half_width(self, level: float, horizon: int) -> float:
        """Return the same for the total over the horizon."""
        if self.total_size is None:
            return float(self.half_widths(level, horizon).sum())
        beyond: float = max(1.0, horizon / self.steps) ** (1 + self.power)
        freedom = max(_LEAST_FREEDOM, int(self.horizons_seen))
        return self.total_size * beyond * float(stdtrit(freedom, (1 + level) / 2))


def spread_of(errors: Values, ahead: NDArray[np.int64], period: int) -> Spread:
    """Return the spread of errors [origins, steps], of which at least one is known.

    `ahead` [origins, steps] is how many steps after the end of the series each lies, -1 for its last value.
    """
    steps = errors.shape[1]
    places = ahead % period
    size = np.abs(errors)
    open_places = _open_places(size, places, period)
    size = np.where(open_places[places] > 0, size, np.nan)
    power = _power(size) if steps >= _STEPS_TO_TELL else _USUAL_POWER
    scaled = size / np.arange(1, steps + 1) ** power
    totals = _totals(errors)
    return Spread(
        scaled_sizes=np.sort(scaled[np.isfinite(scaled)]),
        power=power,
        steps=steps,
        origins=len(errors),
        total_size=float(np.sqrt((totals * totals).mean())) if len(totals) else None,
        open_places=open_places,
        horizons_seen=float(ahead.max() - ahead.min() + 1) / steps,
    )


def total_intervals(total: float, horizon: int, spread: Spread, levels: tuple[float, ...]) -> list[Interval]:
    """Return the intervals of a total."""
    halves = [spread.total_half_width(level, horizon) for level in levels]
    return [Interval(level, total - half, total + half) for level, half in zip(levels, halves, strict=True)]


def coverage(
    errors: Values, ahead: NDArray[np.int64], period: int, levels: tuple[float, ...]
) -> tuple[Coverage, ...]:
    """Return how often what came lay inside, each origin judged by the errors of the others."""
    inside: list[list[Values]] = [[] for _ in levels]
    for origin, own in enumerate(errors):
        others = np.delete(errors, origin, axis=0)
        known = np.isfinite(own)
        if not np.isfinite(others).any() or not known.any():
            continue
        spread = spread_of(others, np.delete(ahead, origin, axis=0), period)
        spread = replace(
            spread, open_places=spread.open_places[(ahead[origin, 0] + np.arange(period)) % period]
        )
        for hits, level in zip(inside, levels, strict=True):
            half = spread.half_widths(level, len(own))
            hits.append((np.abs(own) <= half)[known].astype(np.float64))
    pairs = zip(levels, inside, strict=True)
    return tuple(Coverage(level, float(np.concatenate(hits).mean())) for level, hits in pairs if hits)


def _open_places(size: Values, places: NDArray[np.int64], period: int) -> Values:
    """Return 0 for places where four errors or more were all exactly 0, as on days off, and 1 for others."""
    known = np.isfinite(size)
    count = np.bincount(places[known], minlength=period)
    total = np.bincount(places[known], weights=size[known], minlength=period)
    closed = (count >= _CERTAIN) & (total == 0)
    return np.where(closed, 0.0, 1.0) if total.any() else np.ones(period)


def _totals(errors: Values) -> Values:
    """Return the total error of each origin that has at least half its values, scaled up to all."""
    known = np.isfinite(errors).mean(axis=1)
    enough = known >= 1 / 2
    totals: Values = np.nansum(errors[enough], axis=1) / known[enough]
    return totals


def _power(size: Values) -> float:
    """Return the power of growth that a Laplace distribution of the errors finds most likely."""
    known = np.isfinite(size)
    steps = np.broadcast_to(np.arange(1, size.shape[1] + 1), size.shape)[known]
    if not size[known].any():
        return _USUAL_POWER
    growth = steps ** _POWERS[:, None]
    cost = np.log(growth).mean(axis=1) + np.log((size[known] / growth).mean(axis=1))
    return float(_POWERS[int(cost.argmin())])


def _cycled(places: Values, horizon: int) -> Values:
    return places[np.arange(horizon) % len(places)]


def _growth(power: float, steps: int, horizon: int) -> Values:
    step = np.arange(1, horizon + 1)
    beyond = np.maximum(1.0, step / steps) ** max(power, _USUAL_POWER)
    return np.minimum(step, steps) ** power * beyond


def _widening(level: float, origins: int) -> float:
    probability = (1 + level) / 2
    return float(stdtrit(_freedom(origins), probability) / ndtri(probability))


def _freedom(origins: int) -> int:
    return max(_LEAST_FREEDOM, origins - _ORIGINS_LOST)
