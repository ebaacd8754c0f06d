"""The season of rows: whether there is one, and its shape. Shapes are [origins, m], the coming step first."""

import numpy as np
from numpy.typing import NDArray

from services.forecasting.models.values import Values

_NORMAL_90 = 1.645
_SHRINKING = 0.1  # towards no season; measured on M3 monthly, beside 0 and 0.2
_CYCLES_TO_TEST = 3


def cycles_of(rows: Values, period: int, at_most: int) -> Values:
    """Return the last whole cycles, [origins, cycles, m]."""
    cycles = min(at_most, rows.shape[1] // period)
    return rows[:, rows.shape[1] - cycles * period :].reshape(len(rows), cycles, period)


def median_profile(rows: Values, period: int, at_most: int) -> Values:
    """Return what each place in the cycle adds: medians over the last cycles, summing to 0."""
    profile = np.median(cycles_of(rows, period, at_most), axis=1)
    centred: Values = profile - profile.mean(axis=1, keepdims=True)
    return centred


def recent_medians(rows: Values, period: int, half_life_cycles: float) -> Values:
    """Return the weighted median of each place in the cycle, newer cycles counting more."""
    cycles = cycles_of(rows, period, rows.shape[1])
    weights = 0.5 ** (np.arange(cycles.shape[1])[::-1] / half_life_cycles)
    order = np.argsort(cycles, axis=1)
    share = np.cumsum(weights[order], axis=1) / weights.sum()
    middle = (share >= 0.5 - 1e-12).argmax(axis=1)[:, None]
    return np.take_along_axis(np.take_along_axis(cycles, order, axis=1), middle, axis=1)[:, 0]


def along(profile: Values, length: int) -> Values:
    """Return the profile beside a history of this length, [origins, length]."""
    return profile[:, (np.arange(length) - length) % profile.shape[1]]


def is_seasonal(rows: Values, period: int) -> NDArray[np.bool_]:
    """Tell for each row whether the autocorrelation at the period is beyond its 90 % limits.

    Assimakopoulos, Nikolopoulos 2000, "The theta model", with Bartlett's limits; at least three cycles.
    """
    length = rows.shape[1]
    if period == 1 or length < _CYCLES_TO_TEST * period:
        return np.zeros(len(rows), dtype=np.bool_)
    centred = rows - rows.mean(axis=1, keepdims=True)
    power = (centred * centred).sum(axis=1)
    lagged = np.stack([(centred[:, k:] * centred[:, :-k]).sum(axis=1) for k in range(1, period + 1)], axis=1)
    correlation = lagged / np.where(power > 0, power, 1.0)[:, None]
    limit = _NORMAL_90 * np.sqrt((1 + 2 * (correlation[:, :-1] ** 2).sum(axis=1)) / length)
    found: NDArray[np.bool_] = (power > 0) & (np.abs(correlation[:, -1]) > limit)
    return found


def multiplicative_indices(rows: Values, period: int) -> Values:
    """Return classical indices, mean 1, a little shrunk towards 1; 1 for rows that are not seasonal.

    The values over their centred moving average, averaged by place (Makridakis, Wheelwright, Hyndman 1998,
    section 3/4). Rows need values above 0 throughout to have a season.
    """
    seasonal = is_seasonal(rows, period) & (rows.min(axis=1) > 0)
    indices = np.ones((len(rows), max(period, 1)))
    if not seasonal.any():
        return indices
    chosen = rows[seasonal]
    weights = np.full(period, 1.0) if period % 2 else np.r_[0.5, np.ones(period - 1), 0.5]
    windows = np.lib.stride_tricks.sliding_window_view(chosen, len(weights), axis=1)
    smooth = windows @ (weights / period)
    before = (len(weights) - 1) // 2
    ratios = chosen[:, before : before + smooth.shape[1]] / smooth
    places = (np.arange(smooth.shape[1]) + before - rows.shape[1]) % period
    found = np.stack([ratios[:, places == place].mean(axis=1) for place in range(period)], axis=1)
    indices[seasonal] = (found / found.mean(axis=1, keepdims=True)) ** (1 - _SHRINKING)
    return indices
