"""Results over gRPC, from events that a real events service stores."""

from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from tests.services.funnels.asking import (
    MINUTE,
    create,
    equals,
    event,
    happened,
    results,
    span,
    steps,
    track,
    users,
)
from tests.services.funnels.conftest import Service


def test_a_plain_funnel_counts_people_losses_and_times(service: Service) -> None:
    happened(service, "ABC", "A.B..C", "AB", "A", "BC", "A" + "." * 60 + "B", "A" + "." * 59 + "B")
    found = results(service, create(service))
    assert users(found.steps) == [6, 4, 2]
    first, second, third = found.steps
    assert [first.conversions, second.conversions, third.conversions] == [4, 2, 2]
    assert (second.dropoff, third.dropoff) == (2, 2)
    assert not first.HasField("dropoff")
    assert not first.HasField("step_ratio")
    assert first.conversion_ratio == 1
    assert (second.conversion_ratio, second.step_ratio) == (4 / 6, 4 / 6)
    assert (third.conversion_ratio, third.step_ratio) == (2 / 6, 2 / 4)
    assert third.median_seconds == 2 * MINUTE  # of 1 and 3 minutes
    assert second.mean_seconds == (1 + 2 + 1 + 60) * MINUTE / 4
    assert (found.conversion.starters, found.conversion.finishers) == (6, 2)
    assert found.conversion.median_seconds == 3.5 * MINUTE
    assert (found.largest_ratio_step, found.largest_count_step) == (2, 1)
    assert [step.name for step in found.steps] == ["A", "B", "C"]


def test_nobody_gives_reasons_in_place_of_numbers(service: Service) -> None:
    happened(service, "AB")
    funnel = create(service)
    some = results(service, funnel)
    assert some.steps[2].absent_reason == "NO_USERS"
    assert not some.steps[2].HasField("median_seconds")
    assert some.steps[2].step_ratio == 0
    nobody = results(service, funnel, time_range=span(MINUTE, 2 * MINUTE))
    assert [step.absent_reason for step in nobody.steps] == ["NO_STARTERS"] * 3
    assert not nobody.steps[0].HasField("conversion_ratio")
    assert nobody.conversion.absent_reason == "NO_STARTERS"
    assert not nobody.HasField("largest_ratio_step")


def test_the_range_bounds_entries_and_not_what_follows(service: Service) -> None:
    happened(service, "AB", ".AB", "..AB")
    found = results(service, create(service, "AB"), time_range=span(MINUTE, 2 * MINUTE))
    assert users(found.steps) == [1, 1]


def test_filters_tell_steps_of_one_event_apart(service: Service) -> None:
    track(
        service,
        [
            event(1, "ann", "view", 0, page="home"),
            event(2, "ann", "view", 60, page="cart"),
            event(3, "bob", "view", 0, page="home"),
            event(4, "eve", "view", 0, page="cart"),
            event(5, "eve", "view", 60, page="home"),
        ],
    )
    funnel = [
        pb.FunnelStep(event="view", order=0, filters=[equals("page", "home")]),
        pb.FunnelStep(event="view", order=1, filters=[equals("page", "cart")]),
    ]
    found = results(service, create(service, "", steps=funnel))
    assert users(found.steps) == [3, 1]
    anything = results(service, create(service, "", steps=[funnel[0], pb.FunnelStep(event="view", order=1)]))
    assert users(anything.steps) == [3, 1]  # ann alone: one event fills one step


def test_strict_funnels_end_at_any_other_stored_event(service: Service) -> None:
    happened(service, "ABC", "AXBC", "AXABC", "AABC")
    strict = create(service, order_mode=pb.ORDER_MODE_STRICT)
    found = results(service, strict)
    assert users(found.steps) == [4, 3, 3]
    assert users(results(service, create(service)).steps) == [4, 4, 4]
    assert found.choices.order_mode == "strict"


def test_strict_funnels_see_events_of_a_step_that_meet_no_filter(service: Service) -> None:
    track(
        service,
        [
            event(1, "ann", "A", 0),
            event(2, "ann", "B", 60, plan="free"),
            event(3, "ann", "B", 120, plan="pro"),
            event(4, "bob", "A", 0),
            event(5, "bob", "B", 60, plan="pro"),
        ],
    )
    made = [
        pb.FunnelStep(event="A", order=0),
        pb.FunnelStep(event="B", order=1, filters=[equals("plan", "pro")]),
    ]
    strict = create(service, "", steps=made, order_mode=pb.ORDER_MODE_STRICT)
    assert users(results(service, strict).steps) == [2, 1]


def test_unordered_funnels_count_different_steps(service: Service) -> None:
    happened(service, "CBA", "AA", "B")
    found = results(service, create(service, order_mode=pb.ORDER_MODE_UNORDERED))
    assert users(found.steps) == [3, 1, 1]
    assert {step.name for step in found.steps} == {""}


def test_exclusions_spoil_and_a_clean_attempt_rescues(service: Service) -> None:
    happened(service, "AXB", "AB", "AXAB", "A")
    exclusion = pb.Exclusion(event="X", from_step=0, to_step=1)
    found = results(service, create(service, "AB", exclusions=[exclusion]))
    assert users(found.steps) == [3, 2]
    assert list(found.choices.exclusion_events) == ["X"]


def test_optional_steps_may_be_skipped(service: Service) -> None:
    happened(service, "ABC", "AC", "AB")
    made = steps("ABC")
    made[1].optional = True
    found = results(service, create(service, "", steps=made))
    assert users(found.steps) == [3, 2, 2]
    assert not found.steps[1].HasField("dropoff")
    assert found.steps[2].dropoff == 1
    assert found.steps[2].step_ratio == 2 / 3
    assert list(found.choices.optional_steps) == [1]


def test_only_the_first_entry_counts_where_asked(service: Service) -> None:
    happened(service, "A" + "." * 70 + "AB")
    funnel = create(service, "AB")
    assert users(results(service, funnel).steps) == [1, 1]
    assert users(results(service, funnel, entry=results_pb2.FUNNEL_ENTRY_FIRST).steps) == [1, 0]
