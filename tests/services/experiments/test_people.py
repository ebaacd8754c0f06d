"""Values that are cut (winsorisation), and what was before (CUPED), against plain numpy."""

import random
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.experiments.asking import REVENUE, assign_all, convert, create, definition, results, start
from tests.services.experiments.conftest import Service
from tests.services.experiments.test_feeds import BOUGHT, HOUR, bought, events, service, track

if TYPE_CHECKING:
    from brain.events.v1 import events_pb2

__all__ = ["events", "service"]  # fixtures

DAYS = 10
CUPED = pb.Metric(name="revenue", kind=pb.METRIC_KIND_VALUE, feed=BOUGHT, covariate_days=DAYS)
CUPED_SHARE = pb.Metric(name="buyers", kind=pb.METRIC_KIND_CONVERSION, feed=BOUGHT, covariate_days=DAYS)
CUT = pb.Metric(name="cut", kind=pb.METRIC_KIND_VALUE, feed=BOUGHT, winsorized_quantile=0.9)
PEOPLE = 120


Amounts = dict[str, list[float]]


def lived(service: Service, events: EventsService, clock: Clock) -> tuple[dict[str, str], Amounts, Amounts]:
    """Let people buy before and after they take part; return variants, amounts before and since."""
    create(service, what=definition(metrics=[CUPED, CUPED_SHARE, CUT]))
    start(service)
    variants = assign_all(service, (f"u-{number}" for number in range(PEOPLE)))
    generator = random.Random(3)
    before: Amounts = defaultdict(list)
    since: Amounts = defaultdict(list)
    batch: list[events_pb2.Event] = []
    for name, variant in variants.items():
        taste = generator.expovariate(1 / 20)
        for kept, sign in ((before, -1), (since, 1)):
            for _ in range(generator.choice((0, 1, 1, 2))):
                value = round(taste + generator.uniform(0, 5) + (5 if sign > 0 and variant == "b" else 0), 2)
                # The last tenth before is too long ago to be looked at.
                hours = generator.uniform(1, DAYS * 24 * 1.1) if sign < 0 else generator.uniform(0, 20)
                at = clock.micros + int(sign * hours * HOUR)
                batch.append(bought(len(batch), name, at, value=value))
                if sign > 0 or hours <= DAYS * 24:
                    kept[name].append(value)
    track(events, *batch)
    clock.micros += 21 * HOUR
    return variants, before, since


def column(amounts: Amounts, names: list[str]) -> np.ndarray:
    return np.array([sum(amounts.get(name, [])) for name in names])


def least_squares_effect(before: np.ndarray, since: np.ndarray, treated: np.ndarray) -> float:
    """The coefficient of the variant beside an intercept and what was before, and its oracle."""
    design = np.column_stack([np.ones(len(since)), treated, before])
    return float(np.linalg.lstsq(design, since, rcond=None)[0][1])


def test_what_was_before_explains_a_part(service: Service, events: EventsService, clock: Clock) -> None:
    variants, before, since = lived(service, events, clock)
    names = list(variants)
    treated = np.array([variants[name] == "b" for name in names], float)
    for _ in range(2):  # the second time from what is held
        revenue, buyers, _ = results(service).metrics
        x, y = column(before, names), column(since, names)
        for result, first, second in ((revenue, x, y), (buyers, (x > 0) * 1.0, (y > 0) * 1.0)):
            treatment = result.variants[1]
            assert treatment.comparison.absolute_effect == pytest.approx(
                least_squares_effect(first, second, treated)
            )
            assert treatment.comparison.method == "Welch's t-test after CUPED"
            # What is told of the variant itself is as it was.
            assert treatment.value == pytest.approx(second[treated == 1].mean())
            assert treatment.covariate.moments.mean == pytest.approx(first[treated == 1].mean())
    plain = y[treated == 1].var(ddof=1) / treated.sum() + y[treated == 0].var(ddof=1) / (1 - treated).sum()
    assert revenue.variants[1].comparison.standard_error < 0.9 * plain**0.5


def test_a_comparison_with_what_was_before_can_be_computed_again(
    service: Service, events: EventsService, clock: Clock
) -> None:
    lived(service, events, clock)
    control, treatment = results(service).metrics[0].variants
    request = statistics_pb2.CompareMeansRequest(
        control=control.moments.x,
        treatment=treatment.moments.x,
        control_covariate=control.covariate,
        treatment_covariate=treatment.covariate,
    )
    again = service.statistics.CompareMeans(request).comparison
    assert again.absolute_effect == pytest.approx(treatment.comparison.absolute_effect)
    assert again.standard_error == pytest.approx(treatment.comparison.standard_error)


def test_the_largest_values_are_cut(service: Service, events: EventsService, clock: Clock) -> None:
    variants, _, since = lived(service, events, clock)
    result = results(service).metrics[2]
    everybody = np.sort(column(since, list(variants)))
    cut = everybody[int(np.ceil(0.9 * PEOPLE)) - 1]  # the smallest that nine in ten do not exceed
    assert result.winsorized_at == pytest.approx(cut)
    for each in result.variants:
        mine = column(since, [name for name, variant in variants.items() if variant == each.variant])
        assert each.total_value == pytest.approx(mine.sum())
        assert each.value == pytest.approx(np.minimum(mine, cut).mean())
        assert each.moments.x.m2 == pytest.approx(np.minimum(mine, cut).var() * len(mine))


def test_what_is_tracked_is_cut_too_and_over_time(service: Service, clock: Clock) -> None:
    cut = pb.Metric(name="revenue", kind=REVENUE.kind, winsorized_quantile=0.8)
    create(service, what=definition(metrics=[cut]))
    start(service)
    variants = assign_all(service, (f"u-{number}" for number in range(10)))
    for number, name in enumerate(variants):
        convert(service, number, name, value=number)
    [result] = results(service).metrics
    assert result.winsorized_at == 7
    values = {name: min(7, number) for number, name in enumerate(variants)}
    for each in result.variants:
        mine = [values[name] for name, variant in variants.items() if variant == each.variant]
        assert each.value == pytest.approx(np.mean(mine))
    clock.micros += 24 * HOUR
    first, *_ = service.experiments.GetResultsOverTime(
        pb.GetResultsOverTimeRequest(experiment_key="colour")
    ).points
    assert [each.value for each in first.variants] == [each.value for each in result.variants]


def test_nobody_and_nothing_before_leave_reasons_or_change_nothing(service: Service) -> None:
    create(service, what=definition(metrics=[CUPED, CUT]))
    start(service)
    for result in results(service).metrics:
        assert not result.HasField("winsorized_at")
        assert "interval" in result.variants[1].comparison.absent_reasons
        assert result.variants[1].absent_reasons["value"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"winsorized_quantile": 0.4}, "winsorized_quantile"),
        ({"winsorized_quantile": 1.0}, "winsorized_quantile"),
        ({"winsorized_quantile": float("nan")}, "winsorized_quantile"),
        ({"winsorized_quantile": 0.9, "kind": pb.METRIC_KIND_CONVERSION}, "winsorized_quantile"),
        ({"covariate_days": 0}, "covariate_days"),
        ({"covariate_days": 91}, "covariate_days"),
        ({"covariate_days": 7}, "covariate_days"),
        ({"covariate_days": 7, "kind": pb.METRIC_KIND_RATIO, "feed": BOUGHT}, "covariate_days"),
    ],
)
def test_options_without_a_meaning_are_refused(changes: Any, field: str, service: Service) -> None:  # noqa: ANN401
    metric = pb.Metric(**{"name": "m", "kind": pb.METRIC_KIND_VALUE, **changes})
    refused = refusal(lambda: create(service, what=definition(metrics=[metric])))
    assert refused.fields.keys() == {f"definition.metrics[0].{field}"}
