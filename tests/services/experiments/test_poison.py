"""Requests made to break something: each is refused clearly, and nothing else is harmed."""

from collections.abc import Callable

import grpc
import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2 as stats
from google.protobuf.struct_pb2 import Struct, Value

from tests.refusals import attempt
from tests.services.experiments.asking import assign, create, definition, person, start
from tests.services.experiments.conftest import Service

EXPECTED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}
LONG = "x" * 1_000_000


def deep(levels: int) -> Value:
    value = Value(string_value="end")
    for _ in range(levels):
        outer = Value()
        outer.struct_value.fields["in"].CopyFrom(value)
        value = outer
    return value


def with_value(value: Value) -> pb.CreateExperimentRequest:
    variants = [pb.Variant(name=name, value=value, allocation_percent=50) for name in ("a", "b")]
    what = pb.ExperimentDefinition(name="x", variants=variants, metrics=definition().metrics)
    return pb.CreateExperimentRequest(key="poison", definition=what)


def named(name: str) -> Struct:
    made = Struct()
    made.fields[name].number_value = float("inf")
    return made


Call = Callable[[Service], object]
POISON: dict[str, Call] = {
    "NUL in a key": lambda s: s.experiments.GetExperiment(pb.GetExperimentRequest(experiment_key="a\0")),
    "long key": lambda s: s.experiments.StartExperiment(pb.StartExperimentRequest(experiment_key=LONG)),
    "NUL in a list of decisions": lambda s: s.experiments.ListDecisions(
        pb.ListDecisionsRequest(experiment_key="\0")
    ),
    "forged token": lambda s: s.experiments.ListDecisions(pb.ListDecisionsRequest(page_token="AAAA")),
    "negative page": lambda s: s.experiments.ListExperiments(pb.ListExperimentsRequest(page_size=-1)),
    "unknown status": lambda s: s.experiments.ListExperiments(pb.ListExperimentsRequest(statuses=[77])),  # type: ignore[list-item]
    "NUL in a value": lambda s: s.experiments.CreateExperiment(with_value(Value(string_value="a\0b"))),
    "NUL in a value's field": lambda s: s.experiments.CreateExperiment(
        with_value(Value(struct_value=Struct(fields={"a\0": Value(bool_value=True)})))
    ),
    "NaN as a value": lambda s: s.experiments.CreateExperiment(with_value(Value(number_value=float("nan")))),
    "deep value": lambda s: s.experiments.CreateExperiment(with_value(deep(20))),
    "long value": lambda s: s.experiments.CreateExperiment(with_value(Value(string_value=LONG))),
    "NUL in a user": lambda s: s.experiments.AssignVariant(
        pb.AssignVariantRequest(experiment_key="colour", person=person("\0"))
    ),
    "infinite attribute": lambda s: s.experiments.AssignVariant(
        pb.AssignVariantRequest(experiment_key="colour", person=person("u"), attributes=named("x"))
    ),
    "NUL in a conversion": lambda s: s.experiments.TrackConversion(
        pb.TrackConversionRequest(
            conversion=pb.Conversion(conversion_id="\0", experiment_key="colour", person=person("ann"))
        )
    ),
    "NUL in a metric": lambda s: s.experiments.TrackConversion(
        pb.TrackConversionRequest(
            conversion=pb.Conversion(
                conversion_id="c", experiment_key="colour", person=person("ann"), metric="\0"
            )
        )
    ),
    "NUL in a decision": lambda s: s.experiments.DeclareWinner(
        pb.DeclareWinnerRequest(decision_id="d\0", experiment_key="colour", variant="b")
    ),
    "a covariate of almost no spread": lambda s: s.statistics.CompareMeans(
        stats.CompareMeansRequest(
            control=stats.Moments(n=100, mean=1, m2=1e59),
            treatment=stats.Moments(n=100, mean=1, m2=1e59),
            control_covariate=stats.Covariate(moments=stats.Moments(n=100, mean=1, m2=1e-290), c=1e-116),
            treatment_covariate=stats.Covariate(moments=stats.Moments(n=100, mean=2, m2=1e-290), c=1e-116),
        )
    ),
    "a level of almost nothing": lambda s: s.statistics.CompareProportions(
        stats.CompareProportionsRequest(
            control=stats.Proportion(participants=100, converted=50),
            treatment=stats.Proportion(participants=100, converted=50),
            choices=stats.ComparisonChoices(confidence_level=5e-324),
        )
    ),
}


@pytest.mark.parametrize("call", POISON.values(), ids=POISON)
def test_poison_is_refused(call: Call, service: Service) -> None:
    create(service)
    start(service)
    assign(service, "ann")
    refused = attempt(lambda: call(service))
    assert refused is not None
    assert refused.code in EXPECTED, refused
    assert assign(service, "ann").HasField("variant")


def test_the_largest_numbers_are_counted(service: Service) -> None:
    revenue = pb.Metric(name="revenue", kind=pb.METRIC_KIND_VALUE, allow_negative=True)
    create(service, what=definition(metrics=[revenue]))
    start(service)
    for number, amount in enumerate((1e12, 1e12, -1e12, 1e12)):
        assign(service, f"u-{number % 2}")
        conversion = pb.Conversion(
            conversion_id=f"{number}", experiment_key="colour", person=person(f"u-{number % 2}"), value=amount
        )
        service.experiments.TrackConversion(pb.TrackConversionRequest(conversion=conversion))
    found = service.experiments.GetResults(pb.GetResultsRequest(experiment_key="colour")).results
    assert sum(each.total_value for each in found.metrics[0].variants) == 2e12
