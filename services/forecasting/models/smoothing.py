"""Exponential smoothing of many rows at once, with parameters tried side by side on a grid.

A grid instead of an optimiser: one pass over time evaluates every parameter of every row, it cannot fail to
converge, and near the optimum the error is flat.
"""

import numpy as np

from services.forecasting.models.values import Values

_ALPHAS = np.array([0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])
_DAMPED = np.array(
    [
        (alpha, beta, phi)
        for alpha in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99)
        for beta in (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
        for phi in (0.8, 0.85, 0.9, 0.94, 0.98)
        if beta <= alpha
    ]
)
_LONGEST = 420  # steps of a recursion: what is older has no weight left, but takes time
_HUBER = 1.5
_TO_DEVIATION = 1.4826  # the median absolute deviation of a normal variable, to its standard deviation


def deviations(rows: Values) -> Values:
    """Return a standard deviation that outliers do not move, [origins, 1]: the scaled MAD."""
    middle = np.median(rows, axis=1, keepdims=True)
    return _TO_DEVIATION * np.median(np.abs(rows - middle), axis=1, keepdims=True)


def winsorised(rows: Values, deviations_away: float = 3.0) -> Values:
    """Return the rows cut to so many robust deviations around their medians, if they vary."""
    middle, spread = np.median(rows, axis=1, keepdims=True), deviations(rows)
    cut = np.clip(rows, middle - deviations_away * spread, middle + deviations_away * spread)
    return np.where(spread > 0, cut, rows)


def robust_levels(rows: Values, alpha: float, start_length: int) -> Values:
    """Return the smoothed level at the end of each row, [origins].

    Steps are taken by Huber's psi (Gelper, Fried, Croux 2010, "Robust forecasting with exponential and
    Holt-Winters smoothing", equation 6): an outlier moves the level no further than 1.5 deviations do.
    """
    limit = _HUBER * deviations(rows)[:, 0]
    limit = np.where(limit > 0, limit, np.inf)
    rows = rows[:, -_LONGEST:]
    level = np.median(rows[:, :start_length], axis=1)
    for step in rows.T:
        level = level + alpha * np.clip(step - level, -limit, limit)
    return level


def fitted_levels(rows: Values) -> tuple[Values, Values]:
    """Return levels [origins] and smoothing parameters [origins] of the least squared one-step errors.

    The level before the first value is tried as that value and as the means of the first 4 and the first 12.
    """
    rows = rows[:, -_LONGEST:]
    starts = np.stack([rows[:, 0], rows[:, :4].mean(axis=1), rows[:, :12].mean(axis=1)], axis=1)
    level = np.repeat(starts[:, :, None], len(_ALPHAS), axis=2)
    squares = np.zeros_like(level)
    for step in rows.T:
        error = step[:, None, None] - level
        squares += error * error
        level = level + _ALPHAS * error
    best = squares.reshape(len(rows), -1).argmin(axis=1)
    at = np.arange(len(rows))
    return level.reshape(len(rows), -1)[at, best], _ALPHAS[best % len(_ALPHAS)]


def damped_trends(rows: Values, horizon: int) -> tuple[Values, Values]:
    """Return levels [origins] and the damped trend to add to them [origins, horizon].

    Gardner, McKenzie 1985, "Forecasting trends in time series", by the least squared one-step errors.
    """
    rows = rows[:, -_LONGEST:]
    alpha, beta, phi = _DAMPED.T
    slope_start, level_start = lines(rows[:, : min(12, rows.shape[1])])
    level = np.repeat((level_start - slope_start)[:, None], len(alpha), axis=1)
    slope = np.repeat(slope_start[:, None], len(alpha), axis=1)
    squares = np.zeros_like(level)
    for step in rows.T:
        expected = level + phi * slope
        error = step[:, None] - expected
        squares += error * error
        level = expected + alpha * error
        slope = phi * slope + alpha * beta * error
    best, at = squares.argmin(axis=1), np.arange(len(rows))
    weights = np.cumsum(phi[best][:, None] ** np.arange(1, horizon + 1), axis=1)
    return level[at, best], weights * slope[at, best][:, None]


def lines(rows: Values) -> tuple[Values, Values]:
    """Return slopes and values at position 0 of the least-squares lines, [origins] each."""
    position = np.arange(rows.shape[1]) - (rows.shape[1] - 1) / 2
    square = float((position * position).sum())
    slope = rows @ position / square if square else np.zeros(len(rows))
    return slope, rows.mean(axis=1) - slope * (rows.shape[1] - 1) / 2
