"""Who gets which variant, on a running service."""

import hashlib
from collections import Counter
from collections.abc import Callable

import grpc
import pytest
from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Value

from services.experiments import catalogue
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.experiments.asking import (
    assign,
    assign_all,
    complete,
    create,
    definition,
    pause,
    person,
    start,
)
from tests.services.experiments.conftest import Service

NAMES = [f"user-{number}" for number in range(1_000)]
OUTSIDE = [None, "Zoë", "日本", "o'Brien; --", " ", "user-1\n", "a:b", "💡" * 20]


def place(salt: str, name: str) -> float:
    """The documented hash, written down again."""
    digest = hashlib.sha256(f"{salt}:user:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def shares(service: Service, *percents: float, coverage: float | None = None) -> None:
    names = "abcdefgh"[: len(percents)]
    allocation = [
        pb.VariantAllocation(variant=name, allocation_percent=percent)
        for name, percent in zip(names, percents, strict=True)
    ]
    service.experiments.UpdateExperiment(
        pb.UpdateExperimentRequest(experiment_key="colour", allocation=allocation, coverage_percent=coverage)
    )


def override(service: Service, name: str, variant: str) -> None:
    request = pb.SetOverrideRequest(experiment_key="colour", person=person(name), variant=variant)
    service.experiments.SetOverride(request)


@pytest.fixture
def running(service: Service) -> Service:
    create(service)
    start(service)
    return service


def test_the_hash_is_the_documented_one(service: Service) -> None:
    create(service, what=definition(25, 25, 50, coverage_percent=60))
    start(service)
    names = [*NAMES, *filter(None, OUTSIDE)]
    expected = {
        name: "a" if at < 0.25 else "b" if at < 0.5 else "c"
        for name in names
        if place("coverage:colour", name) < 0.6
        for at in [place("variant:colour", name)]
    }
    assert assign_all(service, names) == expected
    assert 500 < len(expected) < 700


def test_what_was_assigned_stays_whatever_changes(running: Service) -> None:
    first = assign_all(running, NAMES[:500])
    shares(running, 1, 99)
    again = assign_all(running, NAMES)
    assert {name: again[name] for name in first} == first
    later = Counter(again[name] for name in NAMES[500:])
    assert later["b"] > 450
    pause(running)
    start(running)
    assert assign_all(running, NAMES) == again


def test_raising_the_coverage_moves_nobody(service: Service) -> None:
    create(service, what=definition(coverage_percent=10))
    start(service)
    some = assign_all(service, NAMES)
    shares(service, 50, 50, coverage=70)
    more = assign_all(service, NAMES)
    assert some.items() <= more.items()
    assert 60 < len(some) < 140
    assert 620 < len(more) < 780
    # Nobody who is assigned leaves when it sinks.
    shares(service, 50, 50, coverage=0)
    assert assign_all(service, NAMES) == more
    assert assign(service, "somebody-new").reason == pb.ASSIGNMENT_REASON_NOT_COVERED


def test_another_replica_and_a_restart_give_the_same(start_service: Callable[..., Service]) -> None:
    first, second = start_service(), start_service()
    create(first)
    start(first)
    half = assign_all(first, NAMES[:500])
    shares(second, 20, 80)
    everybody = assign_all(second, NAMES)
    assert half.items() <= everybody.items()
    third = start_service()
    assert assign_all(third, NAMES) == assign_all(first, NAMES) == everybody


def test_one_by_one_and_in_batches_give_the_same(running: Service, clock: Clock) -> None:
    one = assign(running, "ann")
    assert one.reason == pb.ASSIGNMENT_REASON_SPLIT
    assert one.assigned_time.ToMicroseconds() == clock.micros
    assert (one.value.string_value, one.person) == (one.variant, person("ann"))
    clock.micros += 9_000_000
    assert assign(running, "ann") == one
    assert assign_all(running, ["ann", "ann"]) == {"ann": one.variant}


def test_users_and_anonymous_ids_of_one_text_are_two_people(running: Service) -> None:
    assign(running, "ann")
    anonymous = pb.Person(anonymous_id="ann")
    asked = pb.GetAssignmentRequest(experiment_key="colour", person=anonymous)
    assert refusal(lambda: running.experiments.GetAssignment(asked)).code is grpc.StatusCode.NOT_FOUND
    request = pb.AssignVariantRequest(experiment_key="colour", person=anonymous)
    assert running.experiments.AssignVariant(request).assignment.person == anonymous
    assert running.experiments.GetAssignment(asked).HasField("exposed_time")


@pytest.mark.parametrize("who", [pb.Person(), pb.Person(user_id="a", anonymous_id="b"), person("x" * 201)])
def test_people_have_exactly_one_good_id(who: pb.Person, running: Service) -> None:
    request = pb.AssignVariantRequest(experiment_key="colour", person=who)
    refused = refusal(lambda: running.experiments.AssignVariant(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert all(field.startswith("person") for field in refused.fields)


def test_nobody_gets_a_variant_unless_it_runs(service: Service) -> None:
    create(service)
    assert assign(service, "ann").reason == pb.ASSIGNMENT_REASON_NOT_RUNNING
    start(service)
    assert assign(service, "ann").HasField("variant")
    pause(service)
    paused = assign(service, "ann")
    assert (paused.reason, paused.HasField("variant")) == (pb.ASSIGNMENT_REASON_NOT_RUNNING, False)
    start(service)
    complete(service)
    assert assign(service, "ann").reason == pb.ASSIGNMENT_REASON_NOT_RUNNING


def condition(name: str, operator: str, *values: str | float | bool) -> PropertyFilter:
    made = PropertyFilter(property=name, operator=PropertyOperator.Value(f"PROPERTY_OPERATOR_{operator}"))
    for value in values:
        message = Value()
        if isinstance(value, bool):
            message.bool_value = value
        elif isinstance(value, str):
            message.string_value = value
        else:
            message.number_value = value
        made.values.append(message)
    return made


def test_only_the_targeted_take_part_and_stay(service: Service) -> None:
    targeting = [condition("country", "IN", "NL", "BE"), condition("age", "GREATER", 17)]
    create(service, what=definition(targeting=targeting))
    start(service)
    assert assign(service, "ann").reason == pb.ASSIGNMENT_REASON_NOT_TARGETED
    assert assign(service, "ann", country="NL", age=17).reason == pb.ASSIGNMENT_REASON_NOT_TARGETED
    assert assign(service, "ann", country="NL", age=18).reason == pb.ASSIGNMENT_REASON_SPLIT
    assert assign(service, "ann", country="US").reason == pb.ASSIGNMENT_REASON_SPLIT


def test_slices_of_a_namespace_exclude_each_other(service: Service) -> None:
    found = {}
    for key, span in (("first", (0, 30)), ("second", (30, 100))):
        part = pb.NamespaceSlice(namespace="checkout", start_percent=span[0], end_percent=span[1])
        create(service, key, definition(namespace_slice=part))
        start(service, key)
        found[key] = assign_all(service, NAMES, key)
    assert found["first"].keys() == {name for name in NAMES if place("namespace:checkout", name) < 0.3}
    assert found["first"].keys() | found["second"].keys() == set(NAMES)
    assert not found["first"].keys() & found["second"].keys()
    [outside, *_] = found["second"]
    assert assign(service, outside, "first").reason == pb.ASSIGNMENT_REASON_EXCLUDED


def test_overrides_win_and_can_be_taken_back(running: Service) -> None:
    before = assign(running, "ann")
    other = "b" if before.variant == "a" else "a"
    override(running, "ann", other)
    found = assign(running, "ann")
    assert (found.variant, found.reason) == (other, pb.ASSIGNMENT_REASON_OVERRIDE)
    asked = pb.GetAssignmentRequest(experiment_key="colour", person=person("ann"))
    kept = running.experiments.GetAssignment(asked).assignment
    assert (kept.variant, kept.reason) == (other, pb.ASSIGNMENT_REASON_OVERRIDE)
    assert not kept.HasField("assigned_time")
    override(running, "ann", "")
    assert assign(running, "ann") == before
    refused = refusal(lambda: override(running, "ann", "z"))
    assert refused.fields.keys() == {"variant"}


def test_values_come_in_the_kind_they_were_given(service: Service) -> None:
    config = Value()
    config.struct_value.update({"depth": 2, "names": ["x", None], "on": True})
    other = Value()
    other.struct_value.update({"depth": 3})
    kinds = {
        "flag": (Value(bool_value=False), Value(bool_value=True)),
        "size": (Value(number_value=1.5), Value(number_value=2)),
        "text": (Value(string_value=""), Value(string_value="x")),
        "object": (config, other),
    }
    for key, (first, second) in kinds.items():
        variants = [
            pb.Variant(name="a", value=first, allocation_percent=100),
            pb.Variant(name="b", value=second, allocation_percent=0),
        ]
        what = pb.ExperimentDefinition(name=key, variants=variants, metrics=definition().metrics)
        create(service, key, what)
        start(service, key)
        assert assign(service, "ann", key).value == first


def test_a_change_is_seen_within_a_second(
    start_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FRESH_SECONDS", 0.5)
    first, second = start_service(), start_service()
    now = [0.0]
    for replica in (first, second):
        monkeypatch.setattr(replica.application.catalogue, "_now", lambda: now[0])
    create(first)
    start(first)
    now[0] = 1.0
    assert assign(second, "ann").HasField("variant")
    pause(first)
    now[0] = 1.51
    assert assign(second, "ann").reason == pb.ASSIGNMENT_REASON_NOT_RUNNING


def test_what_a_replica_did_itself_it_knows_at_once(
    start_service: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "FRESH_SECONDS", 1e9)
    first, second = start_service(), start_service()
    assert refusal(lambda: assign(first, "ann")).code is grpc.StatusCode.NOT_FOUND
    create(first)
    start(first)
    assert assign(first, "ann").HasField("variant")
    override(first, "ann", "b")
    assert assign(first, "ann").reason == pb.ASSIGNMENT_REASON_OVERRIDE
    # Another one knows at once what was made since it looked.
    assert assign(second, "bob").HasField("variant")
    pause(first)
    assert assign(first, "ann").reason == pb.ASSIGNMENT_REASON_NOT_RUNNING


def test_ids_are_not_readable_in_the_database(running: Service) -> None:
    assign(running, "ann@example.org")
    with running.engine.begin() as connection:
        [[stored]] = connection.exec_driver_sql("SELECT who_encrypted FROM users").all()
    assert b"ann" not in bytes(stored)


def test_a_batch_has_a_limit(running: Service) -> None:
    request = pb.AssignVariantsRequest(
        experiment_key="colour", candidates=[pb.Candidate(person=person("x"))] * 5_001
    )
    assert refusal(lambda: running.experiments.AssignVariants(request)).fields.keys() == {"candidates"}
