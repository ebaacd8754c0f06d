"""Flags by our own contract are the assignments."""

from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Value

from tests.refusals import refusal
from tests.services.experiments.asking import assign, attributes, create, definition, person, start
from tests.services.experiments.conftest import Service
from tests.services.experiments.recounting import fold_all


def flags(service: Service, name: str = "", *keys: str, **values: str) -> dict[str, pb.Flag]:
    request = pb.EvaluateFlagsRequest(
        person=person(name) if name else None, attributes=attributes(**values), experiment_keys=keys
    )
    return {each.experiment_key: each for each in service.experiments.EvaluateFlags(request).flags}


def sized(*sizes: float) -> pb.ExperimentDefinition:
    made = definition()
    for variant, size in zip(made.variants, sizes, strict=True):
        variant.value.CopyFrom(Value(number_value=size))
    return made


def test_flags_are_the_assignments(service: Service) -> None:
    for key, what in (("size", sized(10, 20)), ("rate", sized(0.5, 1)), ("colour", definition())):
        create(service, key, what)
        start(service, key)
    create(service, "draft")
    found = flags(service, "ann")
    assert list(found) == ["colour", "rate", "size"]
    for key, flag in found.items():
        kept = assign(service, "ann", key)
        assert (flag.variant, flag.value, flag.reason) == (kept.variant, kept.value, kept.reason)
    assert [flag.is_whole_number for flag in found.values()] == [False, False, True]
    assert flags(service, "ann", "draft")["draft"].reason == pb.ASSIGNMENT_REASON_NOT_RUNNING
    assert list(flags(service, "ann", "size", "draft", "size")) == ["size", "draft"]


def test_nobody_in_particular_gets_winners_alone(service: Service) -> None:
    create(service)
    start(service)
    flag = flags(service)["colour"]
    assert (flag.HasField("variant"), flag.reason) == (False, pb.ASSIGNMENT_REASON_UNSPECIFIED)
    declared = pb.DeclareWinnerRequest(
        decision_id="d", experiment_key="colour", variant="b", override_reason="gut"
    )
    service.experiments.DeclareWinner(declared)
    for name in ("", "ann"):
        flag = flags(service, name)["colour"]
        assert (flag.variant, flag.value.string_value) == ("b", "b")
        assert flag.reason == pb.ASSIGNMENT_REASON_WINNER


def test_bad_questions_are_refused(service: Service) -> None:
    assert refusal(lambda: flags(service, "ann", "unknown")).reason == "EXPERIMENT_UNKNOWN"
    many = (f"k-{number}" for number in range(101))
    assert refusal(lambda: flags(service, "x" * 201, *many)).fields.keys() == {
        "person.user_id",
        "experiment_keys",
    }


def test_a_list_counts_participants_where_asked(service: Service) -> None:
    create(service)
    create(service, "other")
    start(service)
    for name in ("ann", "bob", "cat"):
        assign(service, name)
    override = pb.SetOverrideRequest(experiment_key="colour", person=person("cat"), variant="b")
    service.experiments.SetOverride(override)
    request = pb.ListExperimentsRequest(with_participants=True)
    listed = service.experiments.ListExperiments(request).experiments
    assert [each.participants for each in listed] == [2, 0]
    fold_all(service)
    assign(service, "dan")
    assign(service, "eve")
    seen = pb.Exposure(
        experiment_key="colour",
        person=person("dan"),
        variant="b" if assign(service, "dan").variant == "a" else "a",
    )
    service.experiments.TrackExposure(pb.TrackExposureRequest(exposure=seen))  # so dan saw two variants
    listed = service.experiments.ListExperiments(request).experiments
    assert [each.participants for each in listed] == [3, 0]
    plain = service.experiments.ListExperiments(pb.ListExperimentsRequest()).experiments
    assert not any(each.HasField("participants") for each in plain)
