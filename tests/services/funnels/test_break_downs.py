"""Break-downs with attribution, histograms, conversion over time, losses by segment, journeys."""

from itertools import pairwise

import numpy as np
import pytest
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2, properties_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportions_ztest

from services.funnels.counting import BIN_EDGES_SECONDS, histogram
from services.funnels.segments import holm, segments_of
from tests.refusals import refusal
from tests.services.funnels.asking import (
    DAY,
    MINUTE,
    create,
    event,
    happened,
    results,
    span,
    stamp,
    steps,
    track,
    user,
    users,
)
from tests.services.funnels.conftest import Service

FIRST, LAST, STEP = (
    results_pb2.ATTRIBUTION_FIRST_TOUCH,
    results_pb2.ATTRIBUTION_LAST_TOUCH,
    results_pb2.ATTRIBUTION_STEP,
)


@pytest.fixture
def devices(service: Service) -> str:
    """Two letters say which device an event came from; ann has none at first, bob changes, eve never says."""
    track(
        service,
        [
            event(1, "ann", "A", 0),
            event(2, "ann", "B", 60, on="phone"),
            event(3, "bob", "A", 0, on="phone"),
            event(4, "bob", "B", 60, on="tv"),
            event(5, "bob", "C", 120),
            event(6, "eve", "A", 0),
            event(7, "joe", "A", 0, on="tv"),
            event(8, "joe", "A", 0, on="phone"),  # at the same microsecond: the lesser text counts
        ],
    )
    return create(service)


def groups(found: results_pb2.FunnelResults) -> dict[str | None, list[int]]:
    return {each.group if each.HasField("group") else None: users(each.steps) for each in found.groups}


def test_everybody_is_in_the_one_group_of_their_attempt(service: Service, devices: str) -> None:
    by = {"group_property": "on"}
    first = results(service, devices, attribution=FIRST, **by)
    assert groups(first) == {'"phone"': [3, 2, 1], None: [1, 0, 0]}
    assert first == results(service, devices, attribution=FIRST, **by)
    last = results(service, devices, attribution=LAST, **by)
    assert groups(last) == {'"phone"': [2, 1, 0], '"tv"': [1, 1, 1], None: [1, 0, 0]}
    at_second = results(service, devices, attribution=STEP, attribution_step=1, **by)
    assert groups(at_second) == {'"phone"': [1, 1, 0], '"tv"': [1, 1, 1], None: [2, 0, 0]}
    assert at_second.choices.attribution_step == 1


def test_groups_and_the_rest_add_up(service: Service, devices: str) -> None:
    found = results(service, devices, group_property="on", attribution=LAST, group_limit=1)
    assert list(groups(found)) == ['"phone"']
    assert found.group_count == 3
    assert users(found.rest.steps) == [2, 1, 1]
    sums = np.add(users(found.groups[0].steps), users(found.rest.steps))
    assert sums.tolist() == users(found.steps)


def test_options_of_a_break_down_need_one(service: Service, devices: str) -> None:
    refused = refusal(lambda: results(service, devices, attribution=LAST, group_limit=3))
    assert set(refused.fields) == {"attribution", "group_limit"}
    bad = {"group_property": "a..b", "attribution": STEP, "attribution_step": 3, "group_limit": 1_001}
    refused = refusal(lambda: results(service, devices, **bad))
    assert set(refused.fields) == {"group_property", "attribution_step", "group_limit"}


def test_histograms_hold_everybody_who_converted(service: Service) -> None:
    happened(service, "AB", "A..B", "A.B", "A" + "." * 55 + "B", "A")
    found = results(service, create(service, "AB"), with_histograms=True)
    told = [(each.lower_seconds, each.upper_seconds, each.users) for each in found.steps[1].histogram]
    assert told == [
        (60, 120, 1),
        (120, 300, 2),
        (300, 600, 0),
        (600, 1200, 0),
        (1200, 1800, 0),
        (1800, 3600, 1),
    ]
    assert not found.steps[0].histogram
    assert found.histogram == found.steps[1].histogram


def test_the_spans_of_histograms_reach_to_the_longest_window() -> None:
    seconds = np.array([0.0, 366 * 86_400.0])
    spans = histogram(seconds)
    assert sum(count for _, _, count in spans) == 2
    assert all(upper == lower for (_, upper, _), (lower, _, _) in pairwise(spans))
    assert list(BIN_EDGES_SECONDS) == sorted(BIN_EDGES_SECONDS)


def test_points_are_cut_at_the_range_and_say_what_is_open(service: Service) -> None:
    track(
        service,
        [
            event(1, "ann", "A", 0),
            event(2, "ann", "B", 60),
            event(3, "bob", "A", 86_400),
            event(4, "eve", "A", 1_321_000_000 - DAY - 3_600),  # its window ends this very moment
        ],
    )
    funnel = create(service, "AB")
    request = pb.GetFunnelConversionRequest(
        funnel_id=funnel,
        time_range=span(-3_600, 9 * 86_400),
        interval=common_pb2.INTERVAL_DAY,
        time_zone="Europe/Berlin",
    )
    reply = service.funnels.GetFunnelConversion(request)
    assert reply.points[0].start_time == stamp(-3_600)  # midnight in Berlin
    assert reply.points[1].start_time == stamp(82_800)
    assert [point.conversion.starters for point in reply.points] == [1, 1, 0, 0, 0, 0, 0, 1, 0, 0]
    assert [list(point.step_users) for point in reply.points][:2] == [[1, 1], [1, 0]]
    assert [point.complete for point in reply.points] == [True] * 7 + [False] * 3
    assert [point.conversion.open_entries for point in reply.points][7] == 1
    assert reply.total.open_entries == 1
    assert not reply.choices.complete
    assert reply.time_zone == "Europe/Berlin"


def test_segments_that_lose_more_are_found_and_named(service: Service) -> None:
    """200 people: of 100 on android 62 are lost, of 60 on iphone and 40 on neither 40 in a hundred."""
    lost = {"android": 62, "iphone": 24, "": 16}
    sizes = {"android": 100, "iphone": 60, "": 40}
    events: list[events_pb2.Event] = []
    for device, size in sizes.items():
        for number in range(size):
            who, properties = f"{device}-{number}", {"on": device} if device else {}
            events.append(event(len(events), who, "A", 0, **properties, colour="red"))
            if number >= lost[device]:
                events.append(event(len(events), who, "B", 60, late="yes"))
    track(service, events)
    funnel = create(service, "AB")
    asked = pb.GetDropoffAnalysisRequest(
        funnel_id=funnel, time_range=span(), properties=["on", "colour", "late"]
    )
    found = service.funnels.GetDropoffAnalysis(asked)
    assert (found.largest_ratio_step, found.largest_count_step) == (1, 1)
    assert [(each.users_before, each.lost) for each in found.dropoffs] == [(200, 102)]
    assert found.dropoffs[0].loss_ratio == 102 / 200
    [segment] = found.segments
    assert (segment.property, segment.value, segment.step) == ("on", '"android"', 1)
    assert (segment.users, segment.lost, segment.other_users, segment.other_lost) == (100, 62, 100, 40)
    expected = proportions_ztest([62, 40], [100, 100], alternative="larger")[1]
    assert segment.p_value == pytest.approx(expected, rel=1e-9)
    assert segment.adjusted_p_value == pytest.approx(3 * expected, rel=1e-9)
    # Everybody is red: nobody to compare with. What a later step alone says is of nobody who is lost.
    assert (found.tested_segments, found.untested_segments) == (3, 0)
    registering = properties_pb2.RegisterPropertyRequest(property="on")
    service.events.events.RegisterProperty(registering)
    asked.ClearField("properties")
    assert service.funnels.GetDropoffAnalysis(asked).segments == found.segments


def test_bad_drop_off_questions_name_their_fields(service: Service) -> None:
    funnel = create(service, "AB")
    asked = pb.GetDropoffAnalysisRequest(
        funnel_id=funnel, properties=["", "x"], step=0, significance_level=float("nan")
    )
    refused = refusal(lambda: service.funnels.GetDropoffAnalysis(asked))
    assert set(refused.fields) == {"time_range", "properties[0]", "step", "significance_level"}


def test_small_segments_are_not_tested() -> None:
    codes = np.array([0] * 4 + [1] * 30)
    lost = np.array([True] * 4 + [False] * 15 + [True] * 15)
    assert [segment.is_testable for segment in segments_of(codes, lost)] == [False, False]


def test_holm_is_that_of_statsmodels() -> None:
    generator = np.random.default_rng(1)
    for size in range(1, 8):
        p_values = (generator.random(size) / 5).tolist()
        expected = multipletests(p_values, method="holm")[1]
        assert holm(p_values) == pytest.approx(expected.tolist())
    assert holm([]) == []


def fates(service: Service, funnel: str, **more: object) -> list[tuple[float, str, int]]:
    request = pb.GetUserJourneyRequest(funnel_id=funnel, user=user("u-0"), time_range=span())
    request.MergeFrom(pb.GetUserJourneyRequest(**more))  # type: ignore[arg-type]
    return [
        (
            each.entry_time.seconds - DAY,
            results_pb2.AttemptFate.Name(each.fate).removeprefix("ATTEMPT_FATE_"),
            len(each.steps),
        )
        for each in service.funnels.GetUserJourney(request).attempts
    ]


def test_a_journey_says_why_each_attempt_counts_or_not(service: Service) -> None:
    happened(service, "ABXABCABCA")
    exclusion = pb.Exclusion(event="X", from_step=1, to_step=2)
    funnel = create(service, "ABC", exclusions=[exclusion], time_window_minutes=3)
    assert fates(service, funnel) == [
        (0, "SPOILED", 2),
        (3 * MINUTE, "COUNTS", 3),
        (6 * MINUTE, "LATER", 3),
        (9 * MINUTE, "SHORTER", 1),
    ]
    assert [fate for _, fate, _ in fates(service, funnel, entry=results_pb2.FUNNEL_ENTRY_FIRST)] == [
        "SPOILED",
        "NOT_FIRST",
        "NOT_FIRST",
        "NOT_FIRST",
    ]
    request = pb.GetUserJourneyRequest(funnel_id=funnel, user=user("u-0"), time_range=span(), page_size=3)
    first = service.funnels.GetUserJourney(request)
    request.page_token = first.next_page_token
    second = service.funnels.GetUserJourney(request)
    assert (len(first.attempts), len(second.attempts), second.attempt_count) == (3, 1, 4)
    assert not second.next_page_token
    assert [step.name for step in first.attempts[1].steps] == ["A", "B", "C"]
    stranger = pb.GetUserJourneyRequest(funnel_id=funnel, user=user("nobody"), time_range=span())
    assert not service.funnels.GetUserJourney(stranger).attempts


def test_page_tokens_of_other_questions_are_refused(service: Service) -> None:
    happened(service, "AB", "AB", "A")
    funnel = create(service, "AB")
    listing = pb.ListStepUsersRequest(
        funnel_id=funnel, time_range=span(), outcome=results_pb2.STEP_OUTCOME_REACHED, page_size=1
    )
    token = service.funnels.ListStepUsers(listing).next_page_token
    assert token
    listing.page_token, listing.step = token, 1
    assert set(refusal(lambda: service.funnels.ListStepUsers(listing)).fields) == {"page_token"}
    journey = pb.GetUserJourneyRequest(
        funnel_id=funnel, user=user("u-0"), time_range=span(), page_token=token
    )
    assert set(refusal(lambda: service.funnels.GetUserJourney(journey)).fields) == {"page_token"}
    funnels = pb.ListFunnelsRequest(page_token="x", page_size=1_001)
    assert set(refusal(lambda: service.funnels.ListFunnels(funnels)).fields) == {"page_token", "page_size"}


def test_listing_needs_a_step_and_an_outcome(service: Service) -> None:
    made = steps("ABC")
    made[1].optional = True
    funnel = create(service, "", steps=made)
    asked = pb.ListStepUsersRequest(funnel_id=funnel, time_range=span(), step=3, page_size=-1)
    assert set(refusal(lambda: service.funnels.ListStepUsers(asked)).fields) == {
        "step",
        "outcome",
        "page_size",
    }
    asked = pb.ListStepUsersRequest(
        funnel_id=funnel, time_range=span(), step=1, outcome=results_pb2.STEP_OUTCOME_LOST
    )
    assert set(refusal(lambda: service.funnels.ListStepUsers(asked)).fields) == {"step"}
