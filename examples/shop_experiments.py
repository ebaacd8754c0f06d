"""Two experiments on the shop's customers, to look at. Both are A/A tests: the variants do nothing.

The customers are assigned now, and what they did within their last year counts as done now. So whatever
difference shows is chance, and a method that finds more than its level of them would be wrong.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import orjson
from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from google.protobuf.struct_pb2 import Struct, Value

from examples.patience import PATIENCE_SECONDS
from shared.clients import channel

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import Event

T = TypeVar("T")

EVERYBODY, BRITISH = "demo-all-customers", "demo-british-customers"
_BATCH = 5_000
_RETURNS = "item_returned"
_CLAIM = (
    "A demonstration, not a test of anything: the variants are the same, so every difference is chance. "
    "What the shop's customers did in the data's year counts as done after they were assigned."
)
_METRICS = (
    pb.Metric(name="orders_again", kind=pb.METRIC_KIND_CONVERSION, minimum_relative_effect=0.1),
    pb.Metric(name="revenue", kind=pb.METRIC_KIND_VALUE, minimum_relative_effect=0.2),
    pb.Metric(name="revenue_per_order", kind=pb.METRIC_KIND_RATIO),
    pb.Metric(
        name="returns_something", kind=pb.METRIC_KIND_CONVERSION, decrease_is_better=True, guardrail=True
    ),
)


@dataclass(slots=True)
class Customer:
    """What a customer bought by order, in pounds, and whether something came back."""

    country: str = ""
    orders: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    returned: bool = False


def customers(events: "Iterable[Event]") -> dict[str, Customer]:
    """Return the customers of the shop's events by id; people without one are left out."""
    found: dict[str, Customer] = {}
    for event in events:
        if not event.user_id:
            continue
        customer = found.setdefault(event.user_id, Customer())
        customer.country = orjson.loads(event.properties_json)["country"]
        if event.event == _RETURNS:
            customer.returned = True
        else:
            customer.orders[event.session_id] += event.value
    return found


def run(address: str, token: str, found: dict[str, Customer]) -> None:
    """Make, start and fill both experiments. Again, it changes nothing."""
    with channel(address, token, deadline_seconds=PATIENCE_SECONDS) as calls:
        stub = ExperimentsServiceStub(calls)
        for key, definition in ((EVERYBODY, _everybody()), (BRITISH, _british(len(found)))):
            made = stub.CreateExperiment(pb.CreateExperimentRequest(key=key, definition=definition))
            if made.experiment.status == pb.EXPERIMENT_STATUS_DRAFT:
                stub.StartExperiment(pb.StartExperimentRequest(experiment_key=key))
            if made.experiment.status in {pb.EXPERIMENT_STATUS_DRAFT, pb.EXPERIMENT_STATUS_RUNNING}:
                _fill(stub, key, found)


def _everybody() -> pb.ExperimentDefinition:
    return pb.ExperimentDefinition(
        name="A/A of all customers (demonstration)",
        hypothesis=_CLAIM,
        variants=_variants(first=40, second=30, third=30),
        metrics=_METRICS,
    )


def _british(everybody: int) -> pb.ExperimentDefinition:
    at_home = PropertyFilter(
        property="country",
        operator=PropertyOperator.PROPERTY_OPERATOR_EQUALS,
        values=[Value(string_value="United Kingdom")],
    )
    return pb.ExperimentDefinition(
        name="A/A of British customers (demonstration)",
        hypothesis=_CLAIM,
        variants=_variants(first=50, second=50),
        metrics=_METRICS,
        targeting=[at_home],
        # Nine in ten customers are British: the plan is reached, so numbers for one look are shown.
        planned_sample=everybody // 2,
    )


def _variants(**percents: float) -> list[pb.Variant]:
    return [pb.Variant(name=name, allocation_percent=percent) for name, percent in percents.items()]


def _fill(stub: ExperimentsServiceStub, key: str, found: dict[str, Customer]) -> None:
    taking_part = set()
    for batch in _batches(found.items()):
        candidates = [_candidate(name, customer) for name, customer in batch]
        request = pb.AssignVariantsRequest(experiment_key=key, candidates=candidates)
        for assigned in stub.AssignVariants(request).assignments:
            if assigned.HasField("variant"):
                taking_part.add(assigned.person.user_id)
    made = (each for name in taking_part for each in _conversions(key, name, found[name]))
    for part in _batches(made):
        stub.TrackConversions(pb.TrackConversionsRequest(conversions=part))


def _candidate(name: str, customer: Customer) -> pb.Candidate:
    attributes = Struct()
    attributes.update({"country": customer.country})
    return pb.Candidate(person=pb.Person(user_id=name), attributes=attributes)


def _conversions(key: str, name: str, customer: Customer) -> Iterator[pb.Conversion]:
    def converted(metric: str, identity: str, value: float | None = None) -> pb.Conversion:
        made = pb.Conversion(experiment_key=key, metric=metric, value=value)
        made.conversion_id = f"{metric}-{identity}"
        made.person.user_id = name
        return made

    if len(customer.orders) > 1:
        yield converted("orders_again", name)
    if customer.returned:
        yield converted("returns_something", name)
    for order, value in customer.orders.items():
        yield converted("revenue", order, value)
        yield converted("revenue_per_order", order, value)


def _batches(items: Iterable[T]) -> Iterator[Sequence[T]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch
