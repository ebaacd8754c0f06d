import numpy as np
import pytest
from statsmodels.tsa.seasonal import seasonal_decompose
from statsmodels.tsa.stattools import acf

from services.forecasting.models import season


def test_indices_are_the_classical_ones_a_tenth_shrunk() -> None:
    generator = np.random.default_rng(3)
    shape = 1 + 0.3 * np.sin(2 * np.pi * np.arange(84) / 12)
    row = (200 + 2 * np.arange(84)) * shape * np.exp(generator.normal(0, 0.03, 84))
    classical = seasonal_decompose(row, model="multiplicative", period=12).seasonal[-12:]
    assert season.multiplicative_indices(row[None], 12)[0] == pytest.approx(classical**0.9, rel=1e-9)


def test_the_test_for_a_season_follows_the_autocorrelation_at_it() -> None:
    generator = np.random.default_rng(4)
    noise = generator.normal(100, 5, 60)
    waves = noise + 20 * np.sin(2 * np.pi * np.arange(60) / 12)
    found = season.is_seasonal(np.stack([noise, waves]), 12)
    for row, is_seasonal in zip((noise, waves), found, strict=True):
        correlation = acf(row, nlags=12, fft=False)
        limit = 1.645 * np.sqrt((1 + 2 * (correlation[1:12] ** 2).sum()) / 60)
        assert is_seasonal == (abs(correlation[12]) > limit)
    assert found.tolist() == [False, True]


def test_two_years_are_too_short_for_a_season_and_zeros_too_low_for_indices() -> None:
    waves = 100 + 50 * np.sin(2 * np.pi * np.arange(72) / 12)
    assert not season.is_seasonal(waves[None, :24], 12)[0]
    assert (season.multiplicative_indices((waves - waves.min())[None], 12) == 1).all()


def test_weighted_medians_agree_with_counting() -> None:
    generator = np.random.default_rng(5)
    row = generator.integers(0, 40, 7 * 9).astype(float)
    found = season.recent_medians(row[None], 7, 4.0)[0]
    for place in range(7):
        weighted = sorted((value, 0.5 ** (age / 4)) for age, value in enumerate(row[place::7][::-1]))
        half = sum(weight for _, weight in weighted) / 2
        reached = np.cumsum([weight for _, weight in weighted])
        assert found[place] == weighted[int((reached >= half).argmax())][0]
