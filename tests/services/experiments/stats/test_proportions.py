import pytest
from statsmodels.stats.proportion import (
    confint_proportions_2indep,
    proportion_confint,
    proportions_ztest,
)

from services.experiments.stats.proportions import Proportion, compare_proportions, wilson_interval
from services.experiments.stats.values import Interval, Undefined

# Newcombe, "Interval estimation for the difference between independent proportions: comparison of eleven
# methods", Statistics in Medicine 17 (1998) 873-890, table II, method 10, 95 %: a/m, b/n, lower, upper.
NEWCOMBE = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0),
    (10, 10, 0, 10, 0.6075, 1.0),
]
SAMPLES = [(56, 70, 48, 80), (1, 12, 11, 15), (300, 10_000, 360, 10_100), (5, 1_000_000, 21, 1_000_000)]


def ends(interval: Interval | Undefined) -> tuple[float, float]:
    assert isinstance(interval, Interval)
    return interval.lower, interval.upper


@pytest.mark.parametrize(("a", "m", "b", "n", "lower", "upper"), NEWCOMBE)
def test_intervals_are_those_newcombe_published(
    a: int, m: int, b: int, n: int, lower: float, upper: float
) -> None:
    interval = compare_proportions(Proportion(n, b), Proportion(m, a), 0.95).interval
    assert ends(interval) == pytest.approx((lower, upper), abs=5.1e-5)


@pytest.mark.parametrize(("a", "m", "b", "n"), SAMPLES)
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_agrees_with_statsmodels(a: int, m: int, b: int, n: int, level: float) -> None:
    compared = compare_proportions(Proportion(n, b), Proportion(m, a), level)
    _, p_value = proportions_ztest([a, b], [m, n])
    assert compared.p_value == pytest.approx(p_value, rel=1e-9)
    newcombe = confint_proportions_2indep(a, m, b, n, method="newcomb", alpha=1 - level)
    assert ends(compared.interval) == pytest.approx(newcombe)
    katz = confint_proportions_2indep(a, m, b, n, compare="ratio", method="log", alpha=1 - level)
    assert ends(compared.relative_interval) == pytest.approx((katz[0] - 1, katz[1] - 1))
    wilson = proportion_confint(a, m, alpha=1 - level, method="wilson")
    assert ends(wilson_interval(Proportion(m, a), level)) == pytest.approx(wilson)


def test_no_conversions_anywhere_have_no_p_value() -> None:
    compared = compare_proportions(Proportion(50, 0), Proportion(60, 0), 0.95)
    assert compared.p_value == Undefined("nobody or everybody converted, in both variants")
    assert compared.relative_effect == Undefined("nobody converted in the control")
    assert isinstance(compared.relative_interval, Undefined)
    assert isinstance(compared.estimate, Undefined)
    assert compared.absolute_effect == 0


def test_a_variant_without_participants_has_no_comparison() -> None:
    compared = compare_proportions(Proportion(0, 0), Proportion(60, 6), 0.95)
    assert {type(getattr(compared, name)) for name in ("absolute_effect", "interval", "p_value")} == {
        Undefined
    }


def test_one_person_each_still_has_an_interval() -> None:
    interval = compare_proportions(Proportion(1, 0), Proportion(1, 1), 0.95).interval
    assert isinstance(interval, Interval)
    assert -1 <= interval.lower <= interval.upper <= 1


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="can convert"):
        Proportion(3, 4)


def test_impossible_levels_are_refused() -> None:
    with pytest.raises(ValueError, match="confidence level"):
        compare_proportions(Proportion(3, 1), Proportion(3, 1), 95)
