"""Scores of the forecasting competitions, over many series at once: [series, steps] each."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


def smape_ratio(predicted: Values, actual: Values) -> float:
    """Return the symmetric error (Makridakis 1993), 0-2; values that are missing do not count."""
    size = np.abs(predicted) + np.abs(actual)
    return float(
        np.nanmean(np.where(size > 0, 2 * np.abs(predicted - actual) / np.where(size > 0, size, 1), 0))
    )


def mase(predicted: Values, actual: Values, history: Values, period: int) -> float:
    """Return the scaled error (Hyndman, Koehler 2006)."""
    scale = np.abs(history[:, period:] - history[:, :-period]).mean(axis=1)
    return float(np.nanmean(np.nanmean(np.abs(predicted - actual), axis=1) / scale))


def owa(predicted: Values, actual: Values, history: Values, period: int) -> float:
    """Return the mean of both errors over those of Naive 2 (Makridakis, Spiliotis, Assimakopoulos 2020)."""
    reference = naive2(history, actual.shape[1], period)
    symmetric = smape_ratio(predicted, actual) / smape_ratio(reference, actual)
    scaled = mase(predicted, actual, history, period) / mase(reference, actual, history, period)
    return (symmetric + scaled) / 2


def naive2(history: Values, horizon: int, period: int) -> Values:
    """Return the last value, seasonally adjusted where the autocorrelation at the season is significant."""
    return np.stack([_naive2(row, horizon, period) for row in history])


def _naive2(row: Values, horizon: int, period: int) -> Values:
    places = (np.arange(horizon) + len(row)) % period
    if row.min() < 0 or not _is_seasonal(row, period):
        return np.full(horizon, row[-1])
    smooth = np.convolve(row, np.ones(period) / period, "valid")
    before = (period - 1) // 2
    middle = row[before : before + len(smooth)]
    ratios = np.divide(middle, smooth, out=np.full_like(smooth, np.nan), where=smooth > 0)
    where = (np.arange(len(smooth)) + before) % period
    indices = np.array([np.nanmean(ratios[where == place]) for place in range(period)])
    indices = np.maximum(indices * period / indices.sum(), 1e-3)
    path: Values = row[-1] / indices[(len(row) - 1) % period] * indices[places]
    return path


def _is_seasonal(row: Values, period: int) -> bool:
    centred = row - row.mean()
    power = float((centred**2).sum())
    if power == 0:
        return False
    lagged = np.array([(centred[lag:] * centred[:-lag]).sum() / power for lag in range(1, period + 1)])
    limit = 1.645 * np.sqrt((1 + 2 * (lagged[:-1] ** 2).sum()) / len(row))
    return bool(abs(lagged[-1]) > limit)
