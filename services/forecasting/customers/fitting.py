"""Parameters of greatest likelihood."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

# Beyond, a purchase more or less changes nothing, and what the data say is "all alike".
_LARGEST_LOGARITHM = 12.0


class UnfittableError(Exception):
    """No parameters can be found; the message says why, for people."""


def fitted(log_likelihood: Callable[[NDArray[np.float64]], float], start: tuple[float, ...]) -> list[float]:
    """Return the positive parameters of the greatest log-likelihood, searched for by their logarithms.

    Raises:
        UnfittableError: it is nowhere finite.

    """

    def loss(logarithms: NDArray[np.float64]) -> float:
        return -log_likelihood(np.exp(logarithms))

    found = minimize(
        loss,
        np.log(start),
        method="L-BFGS-B",
        bounds=[(-_LARGEST_LOGARITHM, _LARGEST_LOGARITHM)] * len(start),
        options={"maxiter": 2_000, "ftol": 1e-13, "gtol": 1e-8},
    )
    if not np.isfinite(found.fun):
        raise UnfittableError("no parameters explain these purchases")
    parameters: list[float] = np.exp(found.x).tolist()
    return parameters
