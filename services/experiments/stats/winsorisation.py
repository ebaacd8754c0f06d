"""Tames a few huge values by cutting them to a quantile of all.

Tukey, McLaughlin, "Less Vulnerable Confidence and Significance Procedures for Location Based on a Single
Sample: Trimming/Winsorization 1", Sankhyā A 25 (1963), on the upper side alone. The cut is taken over all
variants together: cuts of their own would hide an effect, or make one.
"""

import numpy as np
from numpy.typing import NDArray


def cut_at(values: NDArray[np.float64], quantile: float) -> float:
    """Return the smallest value that at least this share of all values does not exceed."""
    if not 0 < quantile <= 1 or not len(values):
        raise ValueError("values, and a quantile above 0 and up to 1")
    return float(np.quantile(values, quantile, method="inverted_cdf"))


def winsorised(values: NDArray[np.float64], cut: float) -> NDArray[np.float64]:
    """Return the values, none above the cut."""
    return np.minimum(values, cut)
