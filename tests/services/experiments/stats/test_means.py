import numpy as np
import pyarrow as pa
import pytest
import tea_tasting
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from services.experiments.stats.cuped import adjusted
from services.experiments.stats.means import compare_means
from services.experiments.stats.moments import JointMoments, Moments
from services.experiments.stats.ratios import compare_ratios
from services.experiments.stats.values import Comparison, Interval, Undefined

# Student, "The probable error of a mean", Biometrika 6 (1908): extra hours of sleep under two drugs. As
# printed by R's documentation of t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776,
# p-value = 0.07939, 95 percent confidence interval -3.3654832 0.2054832.
SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])


def test_the_sleep_data_give_what_r_prints() -> None:
    compared = compare_means(Moments.of(SLEEP_2), Moments.of(SLEEP_1), 0.95)
    assert compared.p_value == pytest.approx(0.07939, abs=5e-6)
    assert isinstance(compared.interval, Interval)
    assert (compared.interval.lower, compared.interval.upper) == pytest.approx(
        (-3.3654832, 0.2054832), abs=5e-8
    )


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_statsmodels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    control, treatment = generator.exponential(3, 40 + seed), generator.exponential(5, 90)
    compared = compare_means(Moments.of(control), Moments.of(treatment), 0.9)
    reference = CompareMeans(DescrStatsW(treatment), DescrStatsW(control))
    assert compared.p_value == pytest.approx(reference.ttest_ind(usevar="unequal")[1])
    interval = reference.tconfint_diff(alpha=0.1, usevar="unequal")
    assert isinstance(compared.interval, Interval)
    assert (compared.interval.lower, compared.interval.upper) == pytest.approx(interval)


def made_users() -> dict[str, np.ndarray]:
    generator = np.random.default_rng(7)
    n = 4_000
    before = generator.gamma(2, 10, n)
    variant = generator.integers(0, 2, n)
    orders = 1 + generator.poisson(2, n)
    revenue = before * 0.8 + generator.normal(20 + variant, 6) * orders
    return {"user": np.arange(n), "variant": variant, "before": before, "orders": orders, "revenue": revenue}


def agrees(ours: Comparison, theirs: object) -> None:
    assert ours.absolute_effect == pytest.approx(theirs.effect_size, rel=1e-6)  # type: ignore[attr-defined]
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=2e-3)  # type: ignore[attr-defined]
    for name, interval in (("effect_size", ours.interval), ("rel_effect_size", ours.relative_interval)):
        assert isinstance(interval, Interval)
        span = (getattr(theirs, f"{name}_ci_lower"), getattr(theirs, f"{name}_ci_upper"))
        assert (interval.lower, interval.upper) == pytest.approx(span, rel=5e-2)


def test_cuped_and_ratios_agree_with_tea_tasting() -> None:
    users = made_users()
    experiment = tea_tasting.Experiment(
        cuped=tea_tasting.Mean("revenue", "before"),
        ratio=tea_tasting.RatioOfMeans("revenue", "orders", use_t=False),
        mean=tea_tasting.Mean("revenue"),
    )
    theirs = experiment.analyze(pa.table(users))
    groups = [users["variant"] == each for each in (0, 1)]
    joint = [JointMoments.of(users["before"][group], users["revenue"][group]) for group in groups]
    control, treatment = adjusted(joint)
    # tea-tasting takes θ from the pooled sample, we from within the variants: the effects differ slightly.
    cuped = compare_means(control, treatment, 0.95)
    assert cuped.absolute_effect == pytest.approx(theirs["cuped"].effect_size, rel=2e-2)
    assert cuped.p_value == pytest.approx(theirs["cuped"].pvalue, rel=0.2)
    agrees(compare_means(joint[0].y, joint[1].y, 0.95), theirs["mean"])
    ratios = [
        JointMoments.of(users["revenue"][group], users["orders"][group].astype(float)) for group in groups
    ]
    agrees(compare_ratios(ratios[0], ratios[1], 0.95), theirs["ratio"])


def test_cuped_is_the_regression_on_the_covariate() -> None:
    # Least squares of y on an intercept, the variant and x: its coefficient of the variant is CUPED's effect.
    users = made_users()
    variant, x, y = (users[name].astype(float) for name in ("variant", "before", "revenue"))
    design = np.column_stack([np.ones_like(x), variant, x])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    groups = [variant == each for each in (0, 1)]
    control, treatment = adjusted([JointMoments.of(x[group], y[group]) for group in groups])
    assert treatment.mean - control.mean == pytest.approx(coefficients[1], rel=1e-9)
    plain = [Moments.of(y[group]).variance for group in groups]
    assert all(
        better.m2 / (better.n - 1) < before
        for better, before in zip((control, treatment), plain, strict=True)
        if not isinstance(before, Undefined)
    )


def test_cuped_without_spread_changes_nothing() -> None:
    joint = [JointMoments.of(np.full(3, 2.0), np.array([1.0, 2.0, start])) for start in (3.0, 9.0)]
    assert adjusted(joint) == [each.y for each in joint]


@pytest.mark.parametrize(
    ("control", "reason"),
    [
        (Moments(0, 0.0, 0.0), "the control has no participants"),
        (Moments(1, 5.0, 0.0), "the control has fewer than two participants"),
    ],
)
def test_too_few_have_no_p_value(control: Moments, reason: str) -> None:
    assert compare_means(control, Moments(9, 1.0, 3.0), 0.95).p_value == Undefined(reason)


def test_zero_variance_has_no_p_value() -> None:
    compared = compare_means(Moments(5, 1.0, 0.0), Moments(5, 2.0, 0.0), 0.95)
    assert compared.p_value == Undefined("the metric does not vary in either variant")
    assert (compared.absolute_effect, compared.relative_effect) == (1.0, 1.0)


def test_a_zero_control_has_no_relative_effect() -> None:
    compared = compare_means(Moments(5, 0.0, 2.0), Moments(5, 2.0, 1.0), 0.95)
    assert compared.relative_effect == Undefined("the control's value is zero")
    assert compared.relative_interval == Undefined("the control's value is zero")
    assert isinstance(compared.p_value, float)


def test_a_ratio_of_nothing_is_absent() -> None:
    nothing = JointMoments(Moments(5, 1.0, 2.0), Moments(5, 0.0, 0.0), 0.0)
    something = JointMoments(Moments(5, 1.0, 2.0), Moments(5, 2.0, 1.0), 0.5)
    compared = compare_ratios(nothing, something, 0.95)
    assert compared.p_value == Undefined("in the control, the denominator adds up to zero")
    constant = JointMoments.of(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    assert compare_ratios(constant, constant, 0.95).p_value == Undefined(
        "the ratio does not vary in either variant"
    )
