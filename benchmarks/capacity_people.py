"""What a million people take of a service's memory: measured with few and with many, and the difference."""

from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1.common_pb2 import TimeRange
from brain.experiments.v1 import experiments_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from brain.forecasting.v1 import customers_pb2
from brain.forecasting.v1.forecasting_pb2_grpc import ForecastingServiceStub
from brain.funnels.v1 import funnels_pb2
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import data, measuring, sending
from benchmarks.experiments_service import BATCH, EXPERIMENT, SERVICE, VARIANTS, assignments, send
from benchmarks.report import Line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.stack import ServiceProcess, Stack
    from benchmarks.stored import Stored

DATABASE = "capacity_people"
FEW, MANY = 50_000, 200_000
MILLION = 1_000_000
CACHED = str(2 * MANY)  # a bound on what is kept that is not reached
HORIZON_DAYS = 30
_SOLD = 0
_STEPS = (0, 1, 2)
_ASKED = 5
DAY_SECONDS = 86_400


def run(stored: "Stored", counts: tuple[int, int]) -> list[Line]:
    """Measure events and experiments with people made for it, funnels and forecasting on stored events."""
    stack = stored.stack
    events = [_dictionary(stack, stored.now, people) for people in (FEW, MANY)]
    experiments = [_assignments(stack, people) for people in (FEW, MANY)]
    funnels = [_columns(stored, count) for count in counts]
    buyers = [_customers(stored, count) for count in counts]
    read = [_read(stored, count) for count in counts]
    return [
        _line("events, people met", (FEW, MANY), events),
        _line("experiments, people assigned", (FEW, MANY), experiments),
        _line("funnels, events read", (read[0], read[1]), funnels),
        _line(
            "forecasting, customers, at most while it asks",
            (buyers[0][0], buyers[1][0]),
            [held for _, held in buyers],
        ),
    ]


def _line(what: str, counts: tuple[int, int], held: list[int]) -> Line:
    of_one = (held[1] - held[0]) / (counts[1] - counts[0])
    return Line(
        f"memory, {what}",
        f"{of_one * MILLION / 2**20:.0f} MiB a million",
        f"{held[0] / 2**20:.0f} MiB with {counts[0]:,}, {held[1] / 2**20:.0f} MiB with {counts[1]:,}",
        f"{of_one:.0f} bytes each",
    )


def _dictionary(stack: "Stack", now: int, people: int) -> int:
    """Return what events holds after as many events of few people as of many."""
    columns = data.recent(MANY, now)
    sent = replace(columns, users=(np.arange(MANY) % people).astype(np.int32))
    with _fresh(stack) as resources:
        service = resources.enter_context(stack.service(DATABASE, CACHED_USERS=CACHED))
        sending.Sender(service, resources.enter_context(service.channel())).send(sending.batches(sent))
        return measuring.resident_bytes(service.pid)


def _assignments(stack: "Stack", people: int) -> int:
    """Return what experiments holds after people were given variants, and were asked for again."""
    with _fresh(stack) as resources:
        events = resources.enter_context(stack.service(DATABASE))
        chosen = {"CACHED_ASSIGNMENTS": CACHED}
        service = resources.enter_context(stack.beside("experiments", DATABASE, events, **chosen))
        channel = resources.enter_context(service.channel())
        _start(ExperimentsServiceStub(channel), service)
        requests = [assignments(range(at, at + BATCH)) for at in range(0, people, BATCH)]
        # As many calls of few as of many: what calls leave behind is the same.
        send(service, f"{SERVICE}AssignVariants", requests * (MANY // people), 2)
        return measuring.resident_bytes(service.pid)


def _start(stub: ExperimentsServiceStub, service: "ServiceProcess") -> None:
    definition = experiments_pb2.ExperimentDefinition(
        name="Capacity",
        variants=[experiments_pb2.Variant(name=name, allocation_percent=25) for name in VARIANTS],
        metrics=[experiments_pb2.Metric(name="buys", kind=experiments_pb2.METRIC_KIND_CONVERSION)],
    )
    created = experiments_pb2.CreateExperimentRequest(key=EXPERIMENT, definition=definition)
    stub.CreateExperiment(created, metadata=service.metadata)
    started = experiments_pb2.StartExperimentRequest(experiment_key=EXPERIMENT)
    stub.StartExperiment(started, metadata=service.metadata)


def _columns(stored: "Stored", count: int) -> int:
    """Return what funnels holds after it has read the events of some names, all of which it keeps."""
    database = stored.database(count)
    start, end = _days(stored.now)
    steps = [funnels_pb2.FunnelStep(event=data.name(name), order=order) for order, name in enumerate(_STEPS)]
    request = funnels_pb2.AnalyzeFunnelRequest(
        steps=steps, time_window_minutes=60, time_range=TimeRange(start_time=start, end_time=end)
    )
    with (
        stored.stack.service(database) as events,
        stored.stack.beside("funnels", database, events) as service,
        service.channel() as channel,
    ):
        stub = FunnelsServiceStub(channel)
        for _ in range(_ASKED):
            stub.AnalyzeFunnel(request, metadata=service.metadata)
        return measuring.resident_bytes(service.pid)


def _read(stored: "Stored", count: int) -> int:
    """Return how many events funnels has read."""
    return int(np.isin(stored.columns(count).names, _STEPS).sum())


def _customers(stored: "Stored", count: int) -> tuple[int, int]:
    """Return how many customers there are, and what forecasting holds at most while it predicts them."""
    database = stored.database(count)
    start, end = _days(stored.now)
    history = customers_pb2.PurchaseHistory(events=[data.name(_SOLD)], start_time=start, as_of_time=end)
    request = customers_pb2.PredictChurnRequest(purchases=history, horizon_days=HORIZON_DAYS, page_size=10)
    with (
        stored.stack.service(database) as events,
        stored.stack.beside("forecasting", database, events) as service,
        service.channel() as channel,
    ):
        reply = ForecastingServiceStub(channel).PredictChurn(request, metadata=service.metadata)
        return reply.total_customers, measuring.resident_bytes(service.pid, "VmHWM")


def _days(now: int) -> tuple[Timestamp, Timestamp]:
    """Return the beginning of the first of the stored days, and of the last."""
    first = data.first_day(now)
    return Timestamp(seconds=first * DAY_SECONDS), Timestamp(seconds=(first + data.DAYS - 1) * DAY_SECONDS)


@contextmanager
def _fresh(stack: "Stack") -> "Iterator[ExitStack]":
    """Make a database that goes with the block, after everything that is entered on what is yielded."""
    stack.create(DATABASE)
    with ExitStack() as resources:
        yield resources
    stack.drop(DATABASE)
