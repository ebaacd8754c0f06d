"""Results by what was known of people at their assignment, against plain Python over what was sent."""

import random
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from brain.experiments.v1 import experiments_pb2 as pb

from tests.clock import Clock
from tests.refusals import refusal
from tests.services.events.conftest import Service as EventsService
from tests.services.experiments.asking import (
    REVENUE,
    SIGNUP,
    assign,
    attributes,
    convert,
    create,
    definition,
    person,
    start,
)
from tests.services.experiments.conftest import Service
from tests.services.experiments.test_feeds import BOUGHT, HOUR, bought, events, service, track

if TYPE_CHECKING:
    from brain.events.v1 import events_pb2

__all__ = ["events", "service"]  # fixtures

FED = pb.Metric(name="bought", kind=pb.METRIC_KIND_VALUE, feed=BOUGHT)
CUT = pb.Metric(name="cut", kind=pb.METRIC_KIND_VALUE, feed=BOUGHT, winsorized_quantile=0.75)
CUT_TRACKED = pb.Metric(name="paid", kind=pb.METRIC_KIND_VALUE, winsorized_quantile=0.75)
PLANS = ["pro", "free", "free", None]


def broken_down(service: Service, attribute: str = "plan") -> pb.GetResultsResponse:
    request = pb.GetResultsRequest(experiment_key="colour", break_down_attribute=attribute)
    return service.experiments.GetResults(request)


def assigned(service: Service, plans: dict[str, object]) -> dict[str, str]:
    candidates = [
        pb.Candidate(person=person(name), attributes=attributes(plan=plan) if plan is not None else None)
        for name, plan in plans.items()
    ]
    request = pb.AssignVariantsRequest(experiment_key="colour", candidates=candidates)
    return {
        each.person.user_id: each.variant for each in service.experiments.AssignVariants(request).assignments
    }


@dataclass(frozen=True)
class Told:
    """What was sent: plans, variants, who signed up, what each paid and spent."""

    plans: dict[str, object]
    variants: dict[str, str]
    signed: set[str]
    paid: dict[str, int]
    money: dict[str, float]

    def check(self, segment: pb.Segment) -> None:
        """Compare a segment with plain sums over its people."""
        plan = segment.value if segment.HasField("value") else None
        people = [name for name in self.plans if self.plans[name] == plan]
        assert segment.results.participants == len(people)
        assert not segment.results.recommendation
        signup, fed, cut, tracked = segment.results.metrics
        for each, amounts in ((cut, self.money), (tracked, self.paid)):
            ordered = sorted(amounts.get(name, 0) for name in people)
            assert each.winsorized_at == pytest.approx(ordered[int(np.ceil(0.75 * len(people))) - 1])
        for position, variant in enumerate("ab"):
            mine = [name for name in people if self.variants[name] == variant]
            assert signup.variants[position].participants == len(mine)
            assert signup.variants[position].converted == len(self.signed & set(mine))
            assert fed.variants[position].total_value == pytest.approx(sum(self.money[name] for name in mine))
            cut_at = tracked.winsorized_at
            expected = np.mean([min(cut_at, self.paid.get(name, 0)) for name in mine])
            assert tracked.variants[position].value == pytest.approx(expected)


def told(service: Service, events: EventsService, now: int) -> Told:
    """Assign 80 people, let them sign up, pay and buy."""
    generator = random.Random(2)
    plans: dict[str, object] = {f"u-{number}": generator.choice(PLANS) for number in range(80)}
    variants = assigned(service, plans)
    signed = {name for name in plans if generator.random() < 0.5}
    paid = {name: generator.randrange(1, 50) for name in plans if generator.random() < 0.6}
    money: dict[str, float] = defaultdict(float)
    batch: list[events_pb2.Event] = []
    for name in plans:
        for _ in range(generator.randrange(3)):
            value = generator.randrange(100)
            money[name] += value
            batch.append(bought(len(batch), name, now + HOUR, value=value))
    for name in signed:
        convert(service, f"s-{name}", name, metric="signup")
    for name, value in paid.items():
        convert(service, f"p-{name}", name, metric="paid", value=value)
    track(events, *batch)
    return Told(plans, variants, signed, paid, money)


def test_segments_are_what_plain_python_counts(service: Service, events: EventsService, clock: Clock) -> None:
    metrics = [SIGNUP, FED, CUT, CUT_TRACKED]
    create(service, what=definition(metrics=metrics, break_down_attributes=["plan", "age"]))
    start(service)
    sent = told(service, events, clock.micros)
    # Somebody's attributes later change nothing.
    assign(service, "u-0", plan="other")
    clock.micros += 2 * HOUR
    answer = broken_down(service)
    plans = list(sent.plans.values())
    frequency = sorted(set(plans), key=lambda plan: -plans.count(plan))
    assert [each.value if each.HasField("value") else None for each in answer.segments] == frequency
    assert answer.left_out_values == 0
    for segment in answer.segments:
        sent.check(segment)
    assert answer.results.participants == 80


def test_p_values_are_adjusted_over_all_segments(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP], break_down_attributes=["plan"], planned_sample=1))
    start(service)
    plans: dict[str, object] = {f"u-{number}": ["x", "y"][number % 2] for number in range(200)}
    variants = assigned(service, plans)
    for number, (name, variant) in enumerate(variants.items()):
        if number % 10 < (6 if variant == "b" else 3):
            convert(service, name, name)
    p_values = [each.results.metrics[0].variants[1] for each in broken_down(service).segments]
    raw = [each.comparison.p_value for each in p_values]
    adjusted = [each.adjusted_p_value for each in p_values]
    smallest, largest = sorted(raw)
    assert sorted(adjusted) == pytest.approx([2 * smallest, max(2 * smallest, largest)])


def test_values_are_kept_as_texts_and_the_frequent_ones_are_told(service: Service) -> None:
    create(service, what=definition(metrics=[REVENUE], break_down_attributes=["plan"]))
    start(service)
    odd: list[object] = [True, 7, 1.5, "x" * 200, "", "with\0nul", ["list"], None]
    assigned(service, {f"odd-{number}": value for number, value in enumerate(odd)})
    found = {each.value if each.HasField("value") else None for each in broken_down(service).segments}
    assert found == {"true", "7", "1.5", "x" * 100, "", None}
    assigned(service, {f"u-{number}": f"plan-{number}" for number in range(30)})
    answer = broken_down(service)
    assert (len(answer.segments), answer.left_out_values) == (20, 16)
    assert [each.results.participants for each in answer.segments[:2]] == [3, 1]


def test_a_segment_leaves_out_its_own_people(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP], break_down_attributes=["plan"]))
    start(service)
    assigned(service, {"ann": "x", "bob": "x", "cyd": "x", "dan": "y"})
    for name in ("ann", "never seen"):
        request = pb.SetOverrideRequest(experiment_key="colour", person=person(name), variant="b")
        service.experiments.SetOverride(request)
    answer = broken_down(service)
    told = [(each.results.participants, each.results.overridden_people) for each in answer.segments]
    assert told == [(2, 1), (1, 0)]
    assert answer.results.overridden_people == 2


def test_bad_attributes_are_refused(service: Service) -> None:
    create(service)
    start(service)
    assert refusal(lambda: broken_down(service)).fields.keys() == {"break_down_attribute"}
    names = ["a", "a", "", "b", "c", "d"]
    bad = definition(break_down_attributes=names)
    assert refusal(lambda: create(service, "other", bad)).fields.keys() == {
        "definition.break_down_attributes",
        "definition.break_down_attributes[1]",
        "definition.break_down_attributes[2]",
    }
