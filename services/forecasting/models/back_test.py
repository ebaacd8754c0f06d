"""Forecasts made at past origins from what was known then, and which model they speak for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.forecasting.models.paths import Model, seasonal_naive
from services.forecasting.models.values import Errors, Values

_GATE_RATIO = 0.7  # a default is left only for an error this much lower: back-tests of one series are noisy
_MOST_ORIGINS = 8


@dataclass(frozen=True, slots=True)
class Origins:
    """Past origins of one series: histories [origins, length], and what came, [origins, steps].

    What came is NaN where nothing was observed. `ahead` [origins, steps] is how many steps after the series'
    end each lies, counted backwards: -1 is its last value.
    """

    rows: Values
    actual: Values
    ahead: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The model that stays, its forecasts at the origins, and the ratio of its error to the default's."""

    model: Model
    predicted: Values
    error_ratio: float


def cut(filled: Values, observed: Values, horizon: int, shortest: int) -> Origins:
    """Cut a series into three to eight origins with rows of at least `shortest`, at least 3 below its length.

    `observed` is the series with NaN where nothing was observed. What follows the last origin ends with the
    series; at most a third of the series is forecast at each.
    """
    length = len(filled)
    steps = max(1, min(horizon, length // 3, length - shortest - _MOST_ORIGINS))
    spare = length - shortest - steps
    gap = max(1, min(spare // (_MOST_ORIGINS - 1), steps // 2))
    count = min(_MOST_ORIGINS, spare // gap + 1)
    ends = length - steps - gap * np.arange(count)[::-1]
    row_length = int(ends[0])
    rows = np.stack([filled[end - row_length : end] for end in ends])
    actual = np.stack([observed[end : end + steps] for end in ends])
    return Origins(rows, actual, ends[:, None] + np.arange(steps) - length)


def choose(origins: Origins, default: Model, others: tuple[Model, ...]) -> Chosen:
    """Return the default, or the best of the others where its absolute error is at least 30 % lower."""
    steps = origins.actual.shape[1]
    models = (default, *others)
    predicted = [model.paths(origins.rows, steps).mean for model in models]
    error = [_mean_absolute(path, origins.actual) for path in predicted]
    best = int(np.argmin(error))
    stays = best if error[best] < _GATE_RATIO * error[0] else 0
    return Chosen(models[stays], predicted[stays], error[stays] / error[0] if error[0] else 1.0)


def errors(predicted: Values, actual: Values, scale: float) -> Errors:
    """Score predictions against what came (NaN: not counted), both [origins, steps]; at least one came."""
    off = (predicted - actual)[np.isfinite(actual)]
    known, guess = actual[np.isfinite(actual)], predicted[np.isfinite(actual)]
    size = np.abs(known) + np.abs(guess)
    absolute = float(np.abs(off).mean())
    return Errors(
        mean_absolute_error=absolute,
        mase=absolute / scale if scale > 0 else None,
        smape_ratio=float((2 * np.abs(off) / np.where(size > 0, size, 1.0)).mean()),
        bias=float(off.mean()),
    )


def seasonal_scale(observed: Values, period: int) -> float:
    """Return the mean absolute seasonal difference of the history, 0 where there is none."""
    differences = np.abs(observed[period:] - observed[:-period])
    known = differences[np.isfinite(differences)]
    return float(known.mean()) if len(known) else 0.0


def naive_errors(origins: Origins, period: int, scale: float) -> Errors:
    """Score the seasonal naive forecast at the same origins."""
    predicted = seasonal_naive(origins.rows, origins.actual.shape[1], period)
    return errors(predicted, origins.actual, scale)


def _mean_absolute(predicted: Values, actual: Values) -> float:
    return float(np.nanmean(np.abs(predicted - actual)))
