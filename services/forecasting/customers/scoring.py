"""How good probabilities were, against what came."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BINS = 10


@dataclass(frozen=True, slots=True)
class Calibration:
    """Customers whose probability lay close together: what was said on average, and what came."""

    customers: int
    predicted_ratio: float
    observed_ratio: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of probabilities; `auc` is None where all or none came true."""

    customers: int
    brier: float
    # That of saying the share that came to everybody.
    brier_of_share: float
    auc: float | None
    calibration_error: float
    bins: tuple[Calibration, ...]


def score(probabilities: "NDArray[np.float64]", came: "NDArray[np.bool_]") -> Scores:
    """Score probabilities, (n,) with n at least 1.

    The calibration error is the mean distance of what was said from what came, in ten bins of equal size,
    weighted by their sizes (Naeini, Cooper, Hauskrecht, "Obtaining well calibrated probabilities using
    Bayesian binning", AAAI 2015; their bins are of equal width).
    """
    share = float(np.mean(came))
    bins = tuple(_bins(probabilities, came))
    error = sum(each.customers * abs(each.predicted_ratio - each.observed_ratio) for each in bins) / came.size
    brier = float(np.mean((probabilities - came) ** 2))
    return Scores(came.size, brier, share * (1 - share), _auc(probabilities, came), error, bins)


def _bins(probabilities: "NDArray[np.float64]", came: "NDArray[np.bool_]") -> "list[Calibration]":
    order = np.argsort(probabilities, kind="stable")
    return [
        Calibration(rows.size, float(np.mean(probabilities[rows])), float(np.mean(came[rows])))
        for rows in np.array_split(order, min(_BINS, came.size))
    ]


def _auc(probabilities: "NDArray[np.float64]", came: "NDArray[np.bool_]") -> float | None:
    """Return the share of pairs in the right order, ties half: Mann-Whitney's U."""
    positive = int(np.count_nonzero(came))
    negative = came.size - positive
    if not positive or not negative:
        return None
    # Equal ones share the mean of their ranks. scipy.stats has this too, and takes 0.7 s of every start.
    _, group, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    ranks = float(np.sum((np.cumsum(sizes) - (sizes - 1) / 2)[group][came]))
    return (ranks - positive * (positive + 1) / 2) / (positive * negative)
