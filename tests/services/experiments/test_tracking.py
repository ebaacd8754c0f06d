"""Exposures and conversions, on a running service."""

import grpc
import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from tests.clock import Clock
from tests.refusals import Refusal, refusal
from tests.services.experiments.asking import (
    REVENUE,
    SIGNUP,
    assign,
    complete,
    conversion,
    convert,
    create,
    definition,
    pause,
    person,
    results,
    start,
)
from tests.services.experiments.conftest import Service

SECOND = 1_000_000


def at(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made


def expose(service: Service, name: str, **more: object) -> None:
    exposure = pb.Exposure(experiment_key="colour", person=person(name))
    exposure.MergeFrom(pb.Exposure(**more))  # type: ignore[arg-type]
    service.experiments.TrackExposure(pb.TrackExposureRequest(exposure=exposure))


def running(service: Service, **more: object) -> None:
    create(service, what=definition(metrics=[SIGNUP, REVENUE], **more))
    start(service)


def stored(service: Service) -> int:
    with service.engine.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM conversions").scalar_one())


def converted(service: Service, metric: int = 0) -> list[tuple[int, int, float]]:
    """Converted people, conversions and total value of each variant."""
    variants = results(service).metrics[metric].variants
    return [(each.converted, each.conversions, each.total_value) for each in variants]


def test_a_conversion_before_assignment_is_recorded_nowhere(service: Service) -> None:
    running(service)
    refused = refusal(lambda: convert(service, 1, "ann"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NOT_ASSIGNED")
    assign(service, "ann")
    early = at(1_321_000_000_000_000 - 1)
    assert refusal(lambda: convert(service, 1, "ann", conversion_time=early)).reason == "BEFORE_ASSIGNMENT"
    assert stored(service) == 0


def test_a_conversion_counts_once_for_each_id(service: Service) -> None:
    running(service)
    assign(service, "ann")
    assert not convert(service, 1, "ann").duplicate
    assert convert(service, 1, "ann").duplicate
    assert not convert(service, 2, "ann").duplicate
    assert sorted(converted(service)) == [(0, 0, 0.0), (1, 2, 0.0)]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"conversion_id": ""}, "conversion.conversion_id"),
        ({"metric": "nothing"}, "conversion.metric"),
        ({"metric": "revenue"}, "conversion.value"),
        ({"value": float("nan")}, "conversion.value"),
        ({"value": -0.01}, "conversion.value"),
        ({"value": 1.1e12}, "conversion.value"),
        ({"conversion_time": at(0)}, "conversion.conversion_time"),
        ({"conversion_time": at(1_321_000_000_000_000 + 86_401 * SECOND)}, "conversion.conversion_time"),
        ({"conversion_time": Timestamp(seconds=-(10**15))}, "conversion.conversion_time"),
        ({"person": pb.Person()}, "conversion.person"),
    ],
)
def test_bad_conversions_are_refused(changes: dict[str, object], field: str, service: Service) -> None:
    running(service)
    assign(service, "ann")
    good = {"conversion_id": "c", "experiment_key": "colour", "person": person("ann"), **changes}
    request = pb.TrackConversionRequest(conversion=pb.Conversion(**good))  # type: ignore[arg-type]
    refused = refusal(lambda: service.experiments.TrackConversion(request))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert field in refused.fields
    assert stored(service) == 0


def test_negative_values_count_where_a_metric_allows_them(service: Service) -> None:
    refunds = pb.Metric(name="refunds", kind=pb.METRIC_KIND_VALUE, allow_negative=True)
    create(service, what=definition(metrics=[refunds]))
    start(service)
    assign(service, "ann")
    convert(service, 1, "ann", value=-2.25)
    assert sorted(converted(service)) == [(0, 0, 0.0), (1, 1, -2.25)]


def test_conversions_count_while_it_runs_or_pauses(service: Service) -> None:
    running(service)
    assign(service, "ann")
    pause(service)
    convert(service, 1, "ann")
    start(service)
    complete(service)
    assert refusal(lambda: convert(service, 2, "ann")).reason == "EXPERIMENT_COMPLETED"
    create(service, "draft")
    refused = refusal(lambda: convert(service, 3, "ann", experiment_key="draft"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "EXPERIMENT_DRAFT")
    unknown = refusal(lambda: convert(service, 4, "ann", experiment_key="unknown"))
    assert unknown.code is grpc.StatusCode.NOT_FOUND
    assert stored(service) == 1


def test_a_batch_keeps_the_good_and_names_the_bad(service: Service) -> None:
    running(service)
    assign(service, "ann")
    batch = [
        conversion(1, "ann"),
        conversion(2, "nobody"),
        conversion(1, "ann"),
        conversion(3, "ann", metric="nothing"),
        conversion(4, "ann", experiment_key="unknown"),
        conversion(5, "ann"),
    ]
    reply = service.experiments.TrackConversions(pb.TrackConversionsRequest(conversions=batch))
    assert (reply.accepted, reply.duplicates) == (2, 1)
    assert [(each.index, each.field) for each in reply.rejections] == [(1, ""), (3, "metric"), (4, "")]
    again = service.experiments.TrackConversions(pb.TrackConversionsRequest(conversions=batch))
    assert (again.accepted, again.duplicates) == (0, 3)
    assert stored(service) == 2


def test_an_unknown_experiment_is_looked_for_once_a_batch(service: Service) -> None:
    running(service)
    assign(service, "ann")
    catalogue = service.application.catalogue
    before = catalogue._changes  # noqa: SLF001 - each look that is not due counts there
    batch = [conversion(number, "ann", experiment_key="unknown") for number in range(50)]
    reply = service.experiments.TrackConversions(pb.TrackConversionsRequest(conversions=batch))
    assert {each.reason for each in reply.rejections} == {"there is no experiment 'unknown'"}
    assert (len(reply.rejections), catalogue._changes - before) == (50, 1)  # noqa: SLF001 - as above


@pytest.mark.parametrize("size", [0, 5_001])
def test_batches_have_limits(size: int, service: Service) -> None:
    def refused(call: object, request: object) -> Refusal:
        return refusal(lambda: call(request))  # type: ignore[operator]

    conversions = pb.TrackConversionsRequest(conversions=[pb.Conversion()] * size)
    assert refused(service.experiments.TrackConversions, conversions).fields.keys() == {"conversions"}
    exposures = pb.TrackExposuresRequest(exposures=[pb.Exposure()] * size)
    assert refused(service.experiments.TrackExposures, exposures).fields.keys() == {"exposures"}


def test_conversions_count_within_their_window(service: Service, clock: Clock) -> None:
    running(service, conversion_window_seconds=60)
    assign(service, "ann")
    begin = clock.micros
    convert(service, 1, "ann", conversion_time=at(begin + 60 * SECOND - 1))
    convert(service, 2, "ann", conversion_time=at(begin + 60 * SECOND))
    assert sorted(converted(service)) == [(0, 0, 0.0), (1, 1, 0.0)]


def test_people_take_part_from_their_first_exposure_on(service: Service, clock: Clock) -> None:
    running(service, tracks_exposures=True)
    assert refusal(lambda: expose(service, "ann")).reason == "NOT_ASSIGNED"
    assign(service, "ann")
    assert results(service).participants == 0
    assert refusal(lambda: convert(service, 1, "ann")).reason == "NOT_EXPOSED"
    begin = clock.micros
    clock.micros += 100 * SECOND
    assert refusal(lambda: expose(service, "ann", exposure_time=at(begin - 1))).reason == "BEFORE_ASSIGNMENT"
    expose(service, "ann")
    assert (
        refusal(lambda: convert(service, 1, "ann", conversion_time=at(begin))).reason == "BEFORE_ASSIGNMENT"
    )
    convert(service, 1, "ann")
    # A first exposure that is told late counts from when it was.
    expose(service, "ann", exposure_time=at(begin + 10 * SECOND))
    expose(service, "ann", exposure_time=at(begin + 90 * SECOND))
    convert(service, 2, "ann", conversion_time=at(begin + 10 * SECOND))
    asked = pb.GetAssignmentRequest(experiment_key="colour", person=person("ann"))
    exposed = service.experiments.GetAssignment(asked).exposed_time
    assert exposed.ToMicroseconds() == begin + 10 * SECOND
    found = results(service)
    assert (found.participants, found.conflicting_people) == (1, 0)


def test_people_who_saw_two_variants_are_left_out(service: Service) -> None:
    running(service)
    variant = assign(service, "ann").variant
    other = "b" if variant == "a" else "a"
    assign(service, "bob")
    convert(service, 1, "ann")
    expose(service, "ann", variant=variant)
    assert results(service).conflicting_people == 0
    expose(service, "ann", variant=other)
    expose(service, "ann", variant=variant)
    found = results(service)
    assert (found.participants, found.conflicting_people) == (1, 1)
    assert converted(service) == [(0, 0, 0.0), (0, 0, 0.0)]
    assert "exposure.variant" in refusal(lambda: expose(service, "ann", variant="z")).fields


def test_a_batch_of_exposures_names_the_bad(service: Service) -> None:
    running(service, tracks_exposures=True)
    assign(service, "ann")
    exposures = [
        pb.Exposure(experiment_key="colour", person=person(name)) for name in ("ann", "nobody", "ann")
    ]
    reply = service.experiments.TrackExposures(pb.TrackExposuresRequest(exposures=exposures))
    assert reply.accepted == 2
    assert [(each.index, each.field) for each in reply.rejections] == [(1, "")]


def test_people_with_an_override_are_left_out(service: Service) -> None:
    running(service)
    for name in ("ann", "bob"):
        assign(service, name)
        convert(service, name, name)
    request = pb.SetOverrideRequest(experiment_key="colour", person=person("ann"), variant="a")
    service.experiments.SetOverride(request)
    found = results(service)
    assert (found.participants, found.overridden_people) == (1, 1)
    assert sum(count for count, _, _ in converted(service)) == 1
