"""How often alerts come for nothing, by drawing series that have nothing wrong with them."""

import numpy as np
import pytest

from services.forecasting.anomalies.detection import Spacing, detect_seasonal

SERIES, DAYS = 150, 400


def drawn(generator: np.random.Generator, mean: float) -> np.ndarray:
    """Poisson counts with a week."""
    week = np.exp(np.resize(generator.normal(0, 0.3, 7), DAYS))
    return generator.poisson(mean * week).astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.3, 3.0, 30.0, 3_000.0])
@pytest.mark.parametrize(("threshold", "most"), [(2.5, 0.6), (3.0, 0.25), (4.0, 0.05)])
def test_alerts_for_nothing_are_seldom(mean: float, threshold: float, most: float) -> None:
    """A normal variable is beyond 2.5, 3, 4 deviations on 0.38, 0.08, 0.002 days of a month."""
    generator = np.random.default_rng(17)
    rates = [
        detect_seasonal(drawn(generator, mean), Spacing.DAY, threshold, is_count=True).alerts_per_month
        for _ in range(SERIES)
    ]
    assert np.mean([rate for rate in rates if rate is not None]) <= most


@pytest.mark.slow
def test_drops_to_a_third_are_found_nine_times_of_ten() -> None:
    generator = np.random.default_rng(23)
    found = 0
    for _ in range(SERIES):
        values = drawn(generator, 300.0)
        day = int(generator.integers(100, DAYS))
        values[day] = np.floor(values[day] / 3)
        judged = detect_seasonal(values, Spacing.DAY, 3.0, is_count=True)
        found += judged.points[day].is_anomalous
    assert found / SERIES > 0.9
