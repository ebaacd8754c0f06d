"""Short ways to ask a running service."""

from collections.abc import Iterable, Sequence
from typing import Any

from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from tests.services.experiments.conftest import Service

SIGNUP = pb.Metric(name="signup", kind=pb.METRIC_KIND_CONVERSION)
REVENUE = pb.Metric(name="revenue", kind=pb.METRIC_KIND_VALUE)
LARGEST_BATCH = 5_000


def definition(
    *percents: float, metrics: Sequence[pb.Metric] = (SIGNUP,), **more: object
) -> pb.ExperimentDefinition:
    """Two halves unless told otherwise; variants are called a, b, c …"""
    variants = [
        pb.Variant(name=name, allocation_percent=percent)
        for name, percent in zip("abcdefgh", percents or (50, 50), strict=False)
    ]
    made = pb.ExperimentDefinition(name="Button colour", variants=variants, metrics=metrics)
    made.MergeFrom(pb.ExperimentDefinition(**more))  # type: ignore[arg-type]
    return made


def create(
    service: Service, key: str = "colour", what: pb.ExperimentDefinition | None = None
) -> pb.Experiment:
    request = pb.CreateExperimentRequest(key=key, definition=what or definition())
    return service.experiments.CreateExperiment(request).experiment


def start(service: Service, key: str = "colour") -> pb.Experiment:
    request = pb.StartExperimentRequest(experiment_key=key)
    return service.experiments.StartExperiment(request).experiment


def pause(service: Service, key: str = "colour") -> pb.Experiment:
    request = pb.PauseExperimentRequest(experiment_key=key)
    return service.experiments.PauseExperiment(request).experiment


def complete(service: Service, key: str = "colour") -> pb.Experiment:
    request = pb.CompleteExperimentRequest(experiment_key=key)
    return service.experiments.CompleteExperiment(request).experiment


def person(name: str) -> pb.Person:
    return pb.Person(user_id=name)


def attributes(**values: Any) -> Struct:  # noqa: ANN401 - whatever JSON holds
    made = Struct()
    made.update(values)
    return made


def assign(service: Service, name: str, key: str = "colour", **values: str | float | bool) -> pb.Assignment:
    request = pb.AssignVariantRequest(
        experiment_key=key, person=person(name), attributes=attributes(**values)
    )
    return service.experiments.AssignVariant(request).assignment


def assign_all(service: Service, names: Iterable[str], key: str = "colour") -> dict[str, str]:
    """Assign in batches; return the variants of those who got one."""
    candidates = [pb.Candidate(person=person(name)) for name in names]
    found: dict[str, str] = {}
    for at in range(0, len(candidates), LARGEST_BATCH):
        batch = candidates[at : at + LARGEST_BATCH]
        request = pb.AssignVariantsRequest(experiment_key=key, candidates=batch)
        for each in service.experiments.AssignVariants(request).assignments:
            if each.HasField("variant"):
                found[each.person.user_id] = each.variant
    return found


def conversion(number: int | str, name: str, **more: object) -> pb.Conversion:
    made = pb.Conversion(conversion_id=f"c-{number}", experiment_key="colour", person=person(name))
    made.MergeFrom(pb.Conversion(**more))  # type: ignore[arg-type]
    return made


def convert(service: Service, number: int | str, name: str, **more: object) -> pb.TrackConversionResponse:
    request = pb.TrackConversionRequest(conversion=conversion(number, name, **more))
    return service.experiments.TrackConversion(request)


def convert_all(service: Service, conversions: Sequence[pb.Conversion]) -> None:
    for at in range(0, len(conversions), LARGEST_BATCH):
        batch = conversions[at : at + LARGEST_BATCH]
        request = pb.TrackConversionsRequest(conversions=batch)
        assert not service.experiments.TrackConversions(request).rejections


def results(service: Service, key: str = "colour") -> pb.Results:
    return service.experiments.GetResults(pb.GetResultsRequest(experiment_key=key)).results
