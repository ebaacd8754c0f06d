"""Customers: published fits, simulations whose truth is known, brute force."""

import gzip
from datetime import date
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from services.forecasting.customers import bgnbd, gamma_gamma, predicting
from services.forecasting.customers.bgnbd import BgNbd
from services.forecasting.customers.fitting import UnfittableError
from services.forecasting.customers.gamma_gamma import GammaGamma
from services.forecasting.customers.histories import (
    WEEK_MICROS,
    Histories,
    Purchases,
    daily,
    histories,
    outcomes,
)
from services.forecasting.customers.scoring import score
from services.forecasting.customers.survival import kaplan_meier

CDNOW = Path(__file__).parents[3] / "examples" / "data" / "cdnow_sample.txt.gz"
DAY = 86_400_000_000


def cdnow() -> Purchases:
    rows = [line.split() for line in gzip.decompress(CDNOW.read_bytes()).decode().splitlines()]
    days = [date(int(row[2][:4]), int(row[2][4:6]), int(row[2][6:])).toordinal() for row in rows]
    times = (np.array(days) - date(1970, 1, 1).toordinal()) * DAY
    customers, amounts = (np.array([kind(row[at]) for row in rows]) for at, kind in ((1, int), (4, float)))
    return daily(Purchases(customers, times, amounts), np.arange(times.min(), times.max() + 1, DAY))


def test_cdnow_is_fitted_as_published() -> None:
    """Fader, Hardie, Lee 2005, table 2; Fader, Hardie, "The Gamma-Gamma model", 2013, section 4."""
    end = (date(1997, 9, 30).toordinal() - date(1970, 1, 1).toordinal()) * DAY
    seen = histories(cdnow(), end + DAY)
    seen = Histories(
        seen.keys, seen.frequency, seen.recency, seen.age - 1 / 7, seen.repeat_amount, seen.spent
    )  # ages end with that day in the paper
    assert seen.keys.size == 2_357
    model = bgnbd.fit(seen)
    assert [model.r, model.alpha, model.a, model.b] == pytest.approx([0.243, 4.414, 0.793, 2.426], abs=5e-4)
    assert model.log_likelihood == pytest.approx(-9582.4, abs=0.05)
    spend = gamma_gamma.fit(seen)
    assert [spend.p, spend.q, spend.gamma] == pytest.approx([6.25, 3.74, 15.44], abs=5e-3)
    assert round(float(model.purchases(one(2, 30.43, 38.86), 39)[0]), 3) == 1.226  # the paper's example
    later = outcomes(cdnow(), seen.keys, end + DAY, end + DAY + 13 * WEEK_MICROS)
    scores = score(model.no_purchase(seen, 13), later.purchases == 0)
    assert scores.brier < 0.115 < scores.brier_of_share
    assert scores.calibration_error < 0.03


def one(frequency: float, recency: float, age: float, amount: float = 0.0) -> Histories:
    columns = (
        np.array([value], float) for value in (frequency, recency, age, amount, amount * (frequency + 1))
    )
    return Histories(np.array([1]), *columns)


def simulated(model: BgNbd, n: int, weeks: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Buyers drawn as the model says, from week 0 to `weeks`: (customer, time of each purchase)."""
    generator = np.random.default_rng(seed)
    rates, leaving = generator.gamma(model.r, 1 / model.alpha, n), generator.beta(model.a, model.b, n)
    customers, times = [], []
    for customer, (rate, leaves) in enumerate(zip(rates, leaving, strict=True)):
        time = 0.0
        while time < weeks:
            customers.append(customer)
            times.append(time)
            if time and generator.random() < leaves:
                break
            time += generator.exponential(1 / rate) if rate > 1e-9 else weeks
    return np.array(customers), np.array(times)


def continuous(customers: np.ndarray, times: np.ndarray, end: float) -> tuple[Histories, np.ndarray]:
    """Histories until `end`, and who bought nothing later."""
    n = int(customers.max()) + 1
    inside = times < end
    frequency = (np.bincount(customers[inside], minlength=n) - 1).astype(np.float64)
    recency = np.zeros(n)
    np.maximum.at(recency, customers[inside], times[inside])
    quiet = np.bincount(customers[~inside], minlength=n) == 0
    nothing = np.zeros(n)
    return Histories(np.arange(n), frequency, recency, np.full(n, end), nothing, nothing), quiet


def test_probabilities_agree_with_drawn_customers() -> None:
    model = BgNbd(0.8, 4.0, 0.9, 2.5, 0.0)
    seen, quiet = continuous(*simulated(model, 60_000, 60, 2), 40)
    said = model.no_purchase(seen, 20)
    for few in range(4):
        rows = seen.frequency == few
        error = np.sqrt(np.var(quiet[rows]) / rows.sum())
        assert abs(np.mean(said[rows]) - np.mean(quiet[rows])) < 4 * error
    customers, times = simulated(model, 60_000, 60, 2)
    later = np.bincount(customers[times >= 40], minlength=seen.keys.size)
    expected = model.purchases(seen, 20)
    assert expected.sum() == pytest.approx(later.sum(), rel=0.03)


def test_drawn_parameters_are_found_again() -> None:
    model = BgNbd(0.8, 4.0, 0.9, 2.5, 0.0)
    seen, _ = continuous(*simulated(model, 30_000, 52, 3), 52)
    found = bgnbd.fit(seen)
    assert [found.r, found.alpha, found.a, found.b] == pytest.approx([0.8, 4.0, 0.9, 2.5], rel=0.12)


def test_staying_away_is_not_the_same_as_having_left() -> None:
    model = BgNbd(0.243, 4.414, 0.793, 2.426, 0.0)
    seldom = one(0, 0, 38)
    assert model.alive(seldom)[0] == 1.0  # who bought once cannot have left in this model
    assert model.no_purchase(seldom, 13)[0] > 0.9


def test_the_expected_amount_is_between_the_own_and_everybodys() -> None:
    spend = GammaGamma(6.25, 3.74, 15.44)
    everybody = 6.25 * 15.44 / 2.74  # p·gamma ÷ (q − 1), equation (2)
    assert spend.amount(one(0, 0, 10))[0] == pytest.approx(everybody)
    assert everybody < spend.amount(one(3, 2, 10, 90.0))[0] < 90.0


def test_drawn_amounts_are_found_again() -> None:
    generator = np.random.default_rng(8)
    frequency = generator.integers(1, 9, 20_000).astype(float)
    scales = generator.gamma(4.0, 1 / 20.0, 20_000)
    means = (generator.gamma(5.0 * frequency) / scales / frequency).astype(np.float64)
    nothing = np.zeros(20_000)
    found = gamma_gamma.fit(Histories(np.arange(20_000), frequency, nothing, nothing, means, nothing))
    assert [found.p, found.q, found.gamma] == pytest.approx([5.0, 4.0, 20.0], rel=0.08)


def test_amounts_without_a_mean_are_replaced_by_it_and_said() -> None:
    generator = np.random.default_rng(2)
    days = [np.cumsum(1 + generator.exponential(wait, 9).astype(int)) for wait in generator.gamma(1, 30, 80)]
    seen = [(who, day) for who, each in enumerate(days) for day in each if day < 200]
    keys, times = np.array(seen).T
    usual = 1 / generator.random(80) ** 2  # Pareto with index 1/2 has no mean
    bought = Purchases(keys, times * DAY, usual[keys])
    found = predicting.values(bought, 200 * DAY, 14)
    assert found.parameters["q"] <= 1
    once = np.bincount(keys, minlength=80)[found.keys] == 1
    assert found.amounts[once] == pytest.approx(bought.amounts.mean())
    assert any("differ too much" in each for each in found.warnings)


def test_data_that_carry_no_model_are_refused() -> None:
    with pytest.raises(UnfittableError, match="two days"):
        bgnbd.fit(one(0, 0, 10))
    with pytest.raises(UnfittableError, match="three customers"):
        gamma_gamma.fit(one(2, 1, 10, 5.0))


def test_histories_are_what_counting_by_hand_gives() -> None:
    generator = np.random.default_rng(4)
    keys = generator.integers(0, 9, 200)
    times = generator.integers(0, 100 * DAY, 200)
    amounts = generator.integers(1, 50, 200).astype(np.float64)
    joined = daily(Purchases(keys, times, amounts), np.arange(0, 101) * DAY)
    seen, end = histories(joined, 60 * DAY), 60 * DAY
    later = outcomes(joined, seen.keys, end, end + 20 * DAY)
    rows = list(zip(keys.tolist(), (times // DAY).tolist(), amounts.tolist(), strict=True))
    for at, key in enumerate(seen.keys.tolist()):
        mine = [(day, amount) for other, day, amount in rows if other == key]
        by_day = {day: sum(a for d, a in mine if d == day) for day, _ in mine if day < 60}
        days = sorted(by_day)
        assert seen.frequency[at] == len(days) - 1
        assert seen.recency[at] == pytest.approx((days[-1] - days[0]) / 7)
        assert seen.age[at] == pytest.approx((60 - days[0]) / 7)
        assert seen.spent[at] == pytest.approx(sum(by_day.values()))
        repeats = [by_day[day] for day in days[1:]]
        assert seen.repeat_amount[at] == pytest.approx(sum(repeats) / len(repeats) if repeats else 0)
        bought = [(d, a) for d, a in mine if 60 <= d < 80]
        assert later.purchases[at] == len({day for day, _ in bought})
        assert later.amounts[at] == pytest.approx(sum(amount for _, amount in bought))


def test_remissions_survive_as_published() -> None:
    """6-mercaptopurine: Freireich et al., Blood 21, 1963; estimated by Kalbfleisch, Prentice, 2002, 1.4."""
    ended = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    left = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    tenures = np.array(ended + left, float)
    found = kaplan_meier(tenures, np.array([True] * len(ended) + [False] * len(left)))
    assert found.times.tolist() == [6, 7, 10, 13, 16, 22, 23]
    assert found.at_risk.tolist() == [21, 17, 15, 12, 11, 7, 6]
    published = [0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448]
    assert found.surviving.tolist() == pytest.approx(published, abs=5e-4)
    assert found.ends_within(np.array([8.0]), 8)[0] == pytest.approx(1 - 0.627 / 0.807, abs=1e-3)
    assert np.isnan(found.ends_within(np.array([30.0]), 6)[0])


def test_without_censoring_survival_is_counting() -> None:
    tenures = np.random.default_rng(6).integers(0, 12, 80).astype(float)
    found = kaplan_meier(tenures, np.ones(80, bool))
    for tenure, horizon in product(range(12), range(1, 6)):
        lasting = tenures[tenures > tenure]
        expected = np.mean(lasting <= tenure + horizon) if lasting.size else np.nan
        got = found.ends_within(np.array([float(tenure)]), horizon)[0]
        assert got == pytest.approx(expected, nan_ok=True)


def test_scores_are_what_pairs_and_bins_say() -> None:
    generator = np.random.default_rng(9)
    said = generator.integers(0, 11, 60) / 10
    came = generator.random(60) < said
    found = score(said, came)
    assert found.brier == pytest.approx(np.mean([(p - c) ** 2 for p, c in zip(said, came, strict=True)]))
    pairs = [(a > b) + (a == b) / 2 for a in said[came] for b in said[~came]]
    assert found.auc == pytest.approx(np.mean(pairs))
    assert sum(each.customers for each in found.bins) == 60
    assert score(np.full(4, 0.5), np.ones(4, bool)).auc is None


def test_customers_who_all_buy_daily_carry_no_model_rather_than_nan() -> None:
    seen = histories(Purchases(np.ones(70, int), np.arange(70) * DAY, np.full(70, 5.0)), 70 * DAY)
    with pytest.raises(UnfittableError, match="differ too little"):
        bgnbd.fit(seen).purchases(seen, 13)
