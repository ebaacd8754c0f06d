"""What each point of a series was expected to be, from the points before it alone.

Additive Holt-Winters on log1p of the values, its updates bounded as in Gelper, Fried, Croux, "Robust
forecasting with exponential and Holt-Winters smoothing", Journal of Forecasting 29, 2010: an outlier moves
the level no further than the bound. Two seasons (hours: of the day and of the week) are those of Taylor,
"Short-term electricity demand forecasting using double seasonal exponential smoothing", JORS 54, 2003.

Multiples are no sums where days are closed: a weekday whose values have been exactly 0 lately, among others
that are far from it, is expected to be 0 whatever the level does, and tells nothing about the level.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How fast what is expected follows what came; weights between 0 and 1.

    `window` is how many of the last residuals the deviation is made of, `bound` how many deviations an update
    may move by at the most.
    """

    seasons: tuple[int, ...]
    window: int
    level_weight: float = 0.1
    season_weight: float = 0.1
    bound: float = 2.0
    # So many residuals in a row beyond the bound, on one side, are a new level and no outliers.
    shift_points: int = 7


@dataclass(frozen=True, slots=True)
class Expectation:
    """What was expected, on the scale of `squeeze`; each array as long as the series.

    NaN where nothing could be expected yet: in the first two seasons, and until there are residuals enough.
    """

    expected: Values
    deviation: Values


def squeeze(values: Values) -> Values:
    """Return sign(x)·log(1 + |x|): multiples become differences, and 0 and losses stay defined."""
    return np.copysign(np.log1p(np.abs(values)), values)


def stretch(values: Values) -> Values:
    """Undo `squeeze`."""
    return np.copysign(np.expm1(np.abs(values)), values)


# Fewer residuals say nothing about how far is far.
_LEAST_RESIDUALS = 14
_SCALE_OF_ROUNDING = 1e-9
# Of normally distributed residuals: 1 / Φ⁻¹(3/4).
_MAD_TO_DEVIATION = 1.4826
_WINSORISED_AT = 4.0
# A phase of the longest season with so many zeros in a row is closed, if the level is so far from 0.
_CLOSED_AFTER = 2
_CLOSED_BELOW_LEVEL = 3.0


def expect(values: Values, smoothing: Smoothing, *, is_count: bool) -> Expectation:
    """Return what each point was expected to be, and the usual distance from that.

    Args:
        values: (n,) equally spaced; NaN where a value is missing or must not count.
        smoothing: seasons in points.
        is_count: whether values are counts, which scatter at least as Poisson's do.

    """
    squeezed = squeeze(values)
    state = _State.begun(squeezed, smoothing)
    recent: deque[float] = deque(maxlen=smoothing.window)
    expected, deviation = np.full(values.size, np.nan), np.full(values.size, np.nan)
    start = 2 * max(smoothing.seasons)
    for at in range(start, values.size):
        spread = _spread(recent, state.forecast(at), is_count=is_count)
        closed = spread is not None and state.is_closed(at, spread)
        forecast = 0.0 if closed else state.forecast(at)
        if spread is not None:
            expected[at], deviation[at] = forecast, spread
        if math.isnan(squeezed[at]):
            continue
        state.count_zeros(at, float(squeezed[at]))
        if closed:
            continue
        residual = float(squeezed[at]) - forecast
        recent.append(residual)
        limit = math.inf if spread is None else smoothing.bound * spread
        if state.is_shifted(residual, limit, smoothing.shift_points):
            state.level += residual
        else:
            state.update(at, max(-limit, min(limit, residual)), smoothing)
    return Expectation(expected, deviation)


@dataclass(slots=True)
class _State:
    """Level and seasons as they move."""

    level: float
    seasons: list[list[float]]
    # For each phase of the longest season, values in a row that were exactly 0.
    zeros: list[int]
    # Residuals in a row beyond the bound; negative below it.
    beyond: int = 0

    @classmethod
    def begun(cls, squeezed: Values, smoothing: Smoothing) -> "_State":
        """Start from the medians of the first two of the longest season."""
        first = squeezed[: 2 * max(smoothing.seasons)]
        level = _median(first, 0.0)
        seasons = []
        rest = first - level
        for season in smoothing.seasons:
            effects = [_median(rest[phase::season], 0.0) for phase in range(season)]
            rest = rest - np.resize(effects, rest.size)
            seasons.append(effects)
        begun = cls(level, seasons, [0] * max(smoothing.seasons))
        for at, value in enumerate(first.tolist()):
            begun.count_zeros(at, value)
        return begun

    def forecast(self, at: int) -> float:
        return self.level + math.fsum(effects[at % len(effects)] for effects in self.seasons)

    def count_zeros(self, at: int, value: float) -> None:
        if not math.isnan(value):
            phase = at % len(self.zeros)
            self.zeros[phase] = 0 if value else self.zeros[phase] + 1

    def is_closed(self, at: int, spread: float) -> bool:
        is_far = abs(self.level) > _CLOSED_BELOW_LEVEL * spread
        return is_far and self.zeros[at % len(self.zeros)] >= _CLOSED_AFTER

    def is_shifted(self, residual: float, limit: float, shift_points: int) -> bool:
        """Return whether this residual makes a shift of the level, and begin to count anew if so."""
        side = 0 if abs(residual) <= limit else int(math.copysign(1, residual))
        self.beyond = self.beyond + side if side and side * self.beyond >= 0 else side
        if abs(self.beyond) < shift_points:
            return False
        self.beyond = 0
        return True

    def update(self, at: int, residual: float, smoothing: Smoothing) -> None:
        self.level += smoothing.level_weight * residual
        rest = (1 - smoothing.level_weight) * residual
        for effects in self.seasons:
            effects[at % len(effects)] += smoothing.season_weight * rest


def _median(values: Values, default: float) -> float:
    present = values[~np.isnan(values)]
    return float(np.median(present)) if present.size else default


def _spread(recent: Sequence[float], forecast: float, *, is_count: bool) -> float | None:
    """Return the deviation of the residuals, around 0 as that is what was expected.

    The larger of what the middle of them and, winsorised, all of them say: closed days make the middle small.
    """
    if len(recent) < _LEAST_RESIDUALS:
        return None
    sizes = np.abs(np.fromiter(recent, np.float64, len(recent)))
    middle = _MAD_TO_DEVIATION * float(np.median(sizes))
    cut = np.minimum(sizes, _WINSORISED_AT * middle) if middle else sizes
    spread = max(middle, math.sqrt(float(np.mean(cut**2))))
    # The deviation of log1p of a Poisson variable, by the delta method: √λ ÷ (1 + λ), at most.
    floor = 1 / math.sqrt(1 + math.expm1(abs(forecast))) if is_count else 0.0
    return max(spread, floor, _SCALE_OF_ROUNDING * (1 + abs(forecast)))
