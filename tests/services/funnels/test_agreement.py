"""Every call about a funnel says what trying everything says, whatever happens to the storage."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2, identity_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2
from brain.privacy.v1 import privacy_pb2

from services.events.rollups.compaction import compact
from services.funnels.rules import Attempt, Entry, Exclusion, OrderMode, Rules
from tests.services.funnels.asking import (
    DAY,
    MINUTE,
    create,
    event,
    record,
    results,
    span,
    stamp,
    steps,
    track,
    user,
)
from tests.services.funnels.conftest import Service
from tests.services.funnels.oracle import Happened, best

PEOPLE = 30
RANGE = (10 * MINUTE, 100 * MINUTE)
REACHED, LOST = results_pb2.STEP_OUTCOME_REACHED, results_pb2.STEP_OUTCOME_LOST
# The letters that fill the steps, what else the funnel asks, and the same as rules.
FUNNELS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("ABC", {}, {}),
    ("ABA", {}, {}),
    ("AAB", {"order_mode": pb.ORDER_MODE_STRICT}, {"mode": OrderMode.STRICT}),
    ("ABC", {"order_mode": pb.ORDER_MODE_UNORDERED}, {"mode": OrderMode.UNORDERED}),
    (
        "ABC",
        {"exclusions": [pb.Exclusion(event="X", from_step=0, to_step=2)]},
        {"exclusions": (Exclusion(0, 2),)},
    ),
    ("ACBA", {"optional": 1}, {"optional": frozenset({1})}),
]

History = dict[str, list[tuple[int, str]]]


@pytest.fixture
def histories(service: Service) -> History:
    """Letters on whole minutes of two hours, so that many share one; told to the service in no order."""
    generator = random.Random(4)
    made = {
        f"u-{person}": [
            (generator.randrange(120) * MINUTE, generator.choice("AABBCX"))
            for _ in range(generator.randrange(1, 7))
        ]
        for person in range(PEOPLE)
    }
    listed = [(who, *each) for who, history in made.items() for each in history]
    generator.shuffle(listed)
    track(service, [event(number, who, letter, at) for number, (who, at, letter) in enumerate(listed)])
    return made


def oracle(histories: History, letters: str, more: dict[str, Any], entry: Entry) -> dict[str, Attempt]:
    rules = Rules(len(letters), 30 * MINUTE * 1_000_000, entry=entry, **more)
    bounds = (DAY + RANGE[0]) * 1_000_000, (DAY + RANGE[1]) * 1_000_000
    found = {}
    for who, history in histories.items():
        attempt = best([happened(at, letter, letters) for at, letter in history], rules, bounds)
        if attempt:
            found[who] = attempt
    return found


def happened(at: int, letter: str, letters: str) -> Happened:
    fills = frozenset(step for step, each in enumerate(letters) if each == letter)
    return Happened(int((DAY + at) * 1_000_000), fills, frozenset({0} if letter == "X" else ()))


def make(service: Service, letters: str, more: dict[str, Any]) -> str:
    asked = dict(more)
    optional = asked.pop("optional", None)
    made = steps(letters)
    if isinstance(optional, int):
        made[optional].optional = True
    return create(service, "", steps=made, time_window_minutes=30, **asked)


def listed(
    service: Service,
    funnel: str,
    step: int,
    outcome: "results_pb2.StepOutcome.ValueType",
    entry: "results_pb2.FunnelEntry.ValueType",
) -> set[str]:
    """All pages, of seven people each."""
    request = pb.ListStepUsersRequest(
        funnel_id=funnel,
        time_range=span(*RANGE),
        step=step,
        outcome=outcome,
        entry=entry,
        page_size=7,
    )
    found: list[str] = []
    while True:
        reply = service.funnels.ListStepUsers(request)
        found += [each.user.id for each in reply.users]
        if not reply.next_page_token:
            assert len(found) == len(set(found)) == reply.user_count
            return set(found)
        request.page_token = reply.next_page_token


def counted(
    service: Service, funnel: str, who: str, entry: "results_pb2.FunnelEntry.ValueType"
) -> tuple[int | None, ...] | None:
    """The step times of the attempt that counts in somebody's journey."""
    request = pb.GetUserJourneyRequest(
        funnel_id=funnel,
        user=user(who),
        time_range=span(*RANGE),
        entry=entry,
    )
    attempts = service.funnels.GetUserJourney(request).attempts
    counting = [each for each in attempts if each.fate == results_pb2.ATTEMPT_FATE_COUNTS]
    assert len(counting) <= 1
    if not counting:
        return None
    times = {step.order: step.step_time.ToMicroseconds() for step in counting[0].steps}
    return tuple(times.get(order) for order in range(4))


@pytest.mark.parametrize("entry", [Entry.BEST, Entry.FIRST])
def test_all_calls_agree_with_trying_everything(entry: Entry, service: Service, histories: History) -> None:
    asked = results_pb2.FUNNEL_ENTRY_BEST if entry is Entry.BEST else results_pb2.FUNNEL_ENTRY_FIRST
    for letters, more, rules in FUNNELS:
        attempts = oracle(histories, letters, rules, entry)
        assert attempts
        reached = [
            {who for who, attempt in attempts.items() if attempt.times[step] is not None}
            for step in range(len(letters))
        ]
        funnel = make(service, letters, more)
        found = results(service, funnel, time_range=span(*RANGE), entry=asked)
        assert [step.users for step in found.steps] == list(map(len, reached))
        assert [step.conversions for step in found.steps][-1] == len(reached[-1])
        for step in range(len(letters)):
            assert listed(service, funnel, step, REACHED, asked) == reached[step]
            if found.steps[step].HasField("dropoff"):
                before = 0 if rules.get("optional") and step == 2 else step - 1
                lost = listed(service, funnel, step, LOST, asked)
                assert lost == reached[before] - reached[step]
                assert found.steps[step].dropoff == len(lost)
        for who in list(histories)[:8]:
            times = attempts[who].times if who in attempts else None
            told = counted(service, funnel, who, asked)
            assert (told and told[: len(letters)]) == times
        conversion = service.funnels.GetFunnelConversion(
            pb.GetFunnelConversionRequest(
                funnel_id=funnel,
                time_range=span(*RANGE),
                interval=common_pb2.INTERVAL_HOUR,
                entry=asked,
            )
        )
        assert conversion.total == found.conversion
        begun = Counter((attempt.entry // 1_000_000 - DAY) // 3_600 for attempt in attempts.values())
        assert [point.conversion.starters for point in conversion.points] == [begun[0], begun[1]]
        sums = [sum(users) for users in zip(*(point.step_users for point in conversion.points), strict=True)]
        assert sums == list(map(len, reached))


def test_records_count_like_events_of_their_step_alone(service: Service, histories: History) -> None:
    """Half of everybody's events are records of steps instead; A, B and C fill one step each."""
    generator = random.Random(5)
    funnel = make(service, "ABC", {})
    plain = results(service, funnel, time_range=span(*RANGE))
    other = create(service, ["a", "b", "c"], time_window_minutes=30)  # type: ignore[arg-type]  # names
    number = 10_000
    records, events = [], []
    for who, history in histories.items():
        for at, letter in history:
            number += 1
            if letter == "X":
                continue
            if generator.random() < 0.5:
                records.append(record(other, "ABC".index(letter), who, at))
            else:
                events.append(event(number, who, letter.lower(), at))
    track(service, events)
    reply = service.funnels.TrackFunnelSteps(pb.TrackFunnelStepsRequest(steps=records))
    different = {(each.user.id, each.step, each.step_time.seconds) for each in records}
    assert (reply.accepted, reply.duplicates) == (len(different), len(records) - len(different))
    mixed = results(service, other, time_range=span(*RANGE))
    assert [step.users for step in mixed.steps] == [step.users for step in plain.steps]
    assert mixed.conversion == plain.conversion


def test_numbers_survive_folding_eviction_and_another_replica(
    service: Service, start_service: Callable[..., Service], histories: History
) -> None:
    funnels = [make(service, letters, more) for letters, more, _ in FUNNELS]
    forgetful = start_service(column_cache_bytes=3_000)
    first = [results(service, funnel, time_range=span(*RANGE)) for funnel in funnels]
    for _ in range(2):
        assert [results(forgetful, funnel, time_range=span(*RANGE)) for funnel in funnels] == first
    assert forgetful.application.cache.held_bytes <= 3_000
    while compact(service.events.engine):
        pass
    assert [results(service, funnel, time_range=span(*RANGE)) for funnel in funnels] == first
    assert service.application.cache.held_bytes > 3_000


def test_late_events_show_up_at_once_and_erased_people_are_gone(service: Service) -> None:
    funnel = create(service, "AB")
    track(service, chain.from_iterable(pair(number) for number in range(3)))
    assert [step.users for step in results(service, funnel).steps] == [3, 2]
    track(service, [event(50, "u-2", "B", 2 * MINUTE)])
    assert [step.users for step in results(service, funnel).steps] == [3, 3]
    service.events.privacy.EraseUser(erasing("u-0"))
    assert [step.users for step in results(service, funnel).steps] == [2, 2]
    request = pb.ListStepUsersRequest(funnel_id=funnel, time_range=span(), outcome=REACHED)
    assert {each.user.id for each in service.funnels.ListStepUsers(request).users} == {"u-1", "u-2"}


def pair(number: int) -> list[events_pb2.Event]:
    made = [event(2 * number, f"u-{number}", "A", 0)]
    return made if number == 2 else [*made, event(2 * number + 1, f"u-{number}", "B", MINUTE)]


def erasing(name: str) -> privacy_pb2.EraseUserRequest:
    return privacy_pb2.EraseUserRequest(user=user(name), mode=privacy_pb2.ERASURE_MODE_ERASE)


def test_merged_people_are_one_with_their_records(service: Service) -> None:
    funnel = create(service, "AB")
    anonymous = events_pb2.UserReference(kind=events_pb2.USER_KIND_ANONYMOUS, id="device")
    track(service, [event(1, "ann", "B", 2 * MINUTE)])
    made = pb.StepRecord(funnel_id=funnel, step=0, user=anonymous, step_time=stamp(MINUTE))
    service.funnels.TrackFunnelStep(pb.TrackFunnelStepRequest(step=made))
    assert [step.users for step in results(service, funnel).steps] == [1, 0]
    service.events.events.LinkUser(identity_pb2.LinkUserRequest(user_id="ann", anonymous_id="device"))
    assert [step.users for step in results(service, funnel).steps] == [1, 1]
