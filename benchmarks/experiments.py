"""Experiments: assigning, results of tracked conversions and of events, statistics.

Beside assigning stands an empty call to the same server, beside results a recount of everything that is kept.
"""

import time
from collections.abc import Callable
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING

import grpc
import numpy as np
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from grpc_health.v1 import health_pb2

from benchmarks import measuring
from benchmarks.experiments_service import (
    BATCH,
    DATABASE,
    EXPERIMENT,
    FED,
    METRICS,
    SERVICE,
    TRACKED,
    VARIANTS,
    Setting,
    assignments,
    conversions,
    more_events,
    person,
    running,
    send,
    send_at,
    wait,
)
from benchmarks.report import Line, milliseconds, per_second
from benchmarks.stack import ServiceProcess
from services.experiments.lifecycle import store as experiments
from services.experiments.results import store
from services.experiments.statistics_servicer import StatisticsServicer
from shared import migrations
from shared.database import create_engine

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from benchmarks.stack import Stack

CALLERS = 16
UNARY_RATIO, UNARY_P99_SECONDS = 0.5, 0.010
BATCH_PER_SECOND = 50_000
TRACKED_SECONDS, COLD_SECONDS, WARM_SECONDS, STATISTICS_SECONDS = 0.150, 2.0, 0.300, 0.001


def run(stack: "Stack", people: int, calls: int) -> list[Line]:
    """Measure with so many participants, and as many conversions and events; each call so often."""
    stack.create(DATABASE)
    stack.postgres.create_schema(DATABASE, "experiments")
    with stack.service(DATABASE) as events:
        setting = Setting(stack, events, people)
        migrations.upgrade(setting.url, "experiments", "services.experiments")
        with running(setting) as service:
            lines = _fill(service, setting)
        with running(setting) as service:
            lines += [*_batches(service, setting), *_unary(service, setting, calls)]
        with running(setting) as service:
            lines += _tracked(service, setting, calls)
            _track_events(setting)
            _change_metrics(service, FED)
            # The background may rest for minutes after it looked for people without any events.
            with service.channel() as channel:
                _results(service, channel)()
            wait(setting, f"SELECT count(*) >= {people} FROM experiments.event_identities")
        with running(setting) as service:
            lines += _fed(service, setting, calls)
    stack.drop(DATABASE)
    return [*lines, _statistics(calls)]


def _fill(service: ServiceProcess, setting: Setting) -> list[Line]:
    """Make the experiment, assign everybody, let them convert."""
    with service.channel() as channel:
        stub = ExperimentsServiceStub(channel)
        definition = pb.ExperimentDefinition(
            name="Checkout",
            variants=[pb.Variant(name=name, allocation_percent=25) for name in VARIANTS],
            metrics=TRACKED,
        )
        stub.CreateExperiment(
            pb.CreateExperimentRequest(key=EXPERIMENT, definition=definition), metadata=service.metadata
        )
        request = pb.StartExperimentRequest(experiment_key=EXPERIMENT)
        stub.StartExperiment(request, metadata=service.metadata)
    people = setting.people
    requests = [assignments(range(at, at + BATCH)) for at in range(0, people, BATCH)]
    assigning = measuring.seconds(lambda: send(service, f"{SERVICE}AssignVariants", requests, 2))
    converting = list(conversions(people, 1, people))
    tracking = measuring.seconds(lambda: send(service, f"{SERVICE}TrackConversions", converting, 2))
    nothing_waits = "SELECT NOT EXISTS (SELECT FROM experiments.touched)"
    folding = measuring.seconds(lambda: wait(setting, nothing_waits))
    setting.stack.settle(DATABASE)
    return [
        Line("AssignVariants at first sight", per_second(people, assigning)),
        Line("TrackConversions", per_second(people, tracking), f"folded {folding:.0f} s after it"),
    ]


def _batches(service: ServiceProcess, setting: Setting) -> list[Line]:
    """Assign people who are stored, then the same ones, whom the service remembers."""
    some = min(setting.people, 100_000)
    requests = [assignments(range(at, at + BATCH)) for at in range(0, some, BATCH)]
    send(service, f"{SERVICE}AssignVariants", [assignments(range(some, some + 1))], 1)
    stored, *again = (
        measuring.seconds(lambda: send(service, f"{SERVICE}AssignVariants", requests, 2)) for _ in range(6)
    )
    remembered = median(again)
    return [
        Line("AssignVariants, stored", per_second(some, stored)),
        Line(
            "AssignVariants, remembered",
            per_second(some, remembered),
            bar=f"≥ {BATCH_PER_SECOND:,} /s",
            is_met=some / remembered >= BATCH_PER_SECOND,
        ),
    ]


def _unary(service: ServiceProcess, setting: Setting, calls: int) -> list[Line]:
    """Assign one by one, by turns with an empty call."""
    count = 40 * calls
    generator = np.random.default_rng(2)
    known = generator.integers(min(setting.people, 100_000), size=count).tolist()
    assignments = [
        pb.AssignVariantRequest(experiment_key=EXPERIMENT, person=person(number)).SerializeToString()
        for number in known
    ]
    empty = [health_pb2.HealthCheckRequest().SerializeToString()] * count
    rates: dict[str, list[float]] = {"assign": [], "empty": []}
    for _ in range(5):
        began = time.perf_counter()
        send(service, "/grpc.health.v1.Health/Check", empty, CALLERS)
        rates["empty"].append(count / (time.perf_counter() - began))
        began = time.perf_counter()
        send(service, f"{SERVICE}AssignVariant", assignments, CALLERS)
        rates["assign"].append(count / (time.perf_counter() - began))
    rate, reference = median(rates["assign"]), median(rates["empty"])
    due = UNARY_RATIO * reference
    latencies = send_at(service, f"{SERVICE}AssignVariant", 5 * assignments, CALLERS, due)
    p99 = quantiles(latencies, n=100)[98]
    return [
        Line(
            f"AssignVariant, remembered, {CALLERS} callers",
            per_second(rate, 1),
            f"health check {per_second(reference, 1)}",
            f"{rate / reference:.2f}",
            f"≥ {UNARY_RATIO}",
            rate / reference >= UNARY_RATIO,
        ),
        Line(
            f"its 99th percentile at {UNARY_RATIO} of the health checks' rate, {per_second(due, 1)}",
            milliseconds(p99),
            bar=f"≤ {milliseconds(UNARY_P99_SECONDS)}",
            is_met=p99 <= UNARY_P99_SECONDS,
        ),
    ]


def _results(service: ServiceProcess, channel: grpc.Channel) -> Callable[[], pb.Results]:
    stub = ExperimentsServiceStub(channel)
    request = pb.GetResultsRequest(experiment_key=EXPERIMENT)
    return lambda: stub.GetResults(request, metadata=service.metadata, timeout=300).results


def _tracked(service: ServiceProcess, setting: Setting, calls: int) -> list[Line]:
    with service.channel() as channel:
        ask = _results(service, channel)
        first = measuring.seconds(ask)
        [warm] = measuring.medians([ask], calls)
        recount = _recount(setting)
        behind = []
        for seed in range(2, 7):
            send(service, f"{SERVICE}TrackConversions", conversions(setting.people, seed, BATCH), 1)
            behind.append(measuring.seconds(ask))
    what = f"GetResults, tracked, {len(VARIANTS)} variants, {METRICS} metrics, {setting.people:,} people"
    return [
        _answered(f"{what}, first call", first, TRACKED_SECONDS),
        _answered(what, warm, TRACKED_SECONDS, f"recount {milliseconds(recount)}", recount),
        _answered(f"the same, {BATCH:,} conversions not folded", median(behind), TRACKED_SECONDS),
    ]


def _recount(setting: Setting) -> float:
    engine = create_engine(setting.url, schema="experiments", pool_size=1, application_name="benchmark")
    with engine.connect() as connection, connection.begin():
        experiment = experiments.read(connection, EXPERIMENT).experiment
        names = [metric.name for metric in TRACKED]
        seconds = measuring.seconds(lambda: store.recount(connection, experiment, names))
    engine.dispose()
    return seconds


def _change_metrics(service: ServiceProcess, metrics: list[pb.Metric]) -> None:
    with service.channel() as channel:
        request = pb.UpdateExperimentRequest(experiment_key=EXPERIMENT, metrics=metrics)
        ExperimentsServiceStub(channel).UpdateExperiment(request, metadata=service.metadata)


def _track_events(setting: Setting) -> None:
    """Everybody does one event."""
    people = setting.people
    requests = (more_events(range(at, at + BATCH), people) for at in range(0, people, BATCH))
    send(setting.events, "/brain.events.v1.EventsService/TrackEvents", requests, 2)


def _fed(service: ServiceProcess, setting: Setting, calls: int) -> list[Line]:
    people = setting.people
    with service.channel() as channel:
        ask = _results(service, channel)
        cold = measuring.seconds(ask)
        assert sum(each.conversions for each in ask().metrics[0].variants) == people // METRICS
        [warm] = measuring.medians([ask], calls)
        changed = []
        for at in range(5):
            newcomers = range(people + at * 100, people + at * 100 + 100)
            send(service, f"{SERVICE}AssignVariants", [assignments(newcomers)], 1)
            more = more_events(range(people * (at + 2), people * (at + 2) + 1_000), people)
            send(setting.events, "/brain.events.v1.EventsService/TrackEvents", [more], 1)
            changed.append(measuring.seconds(ask))
    what = f"GetResults, fed by {people:,} events"
    return [
        _answered(f"{what}, cold", cold, COLD_SECONDS),
        _answered(f"{what}, warm", warm, WARM_SECONDS, f"cold {milliseconds(cold)}", cold),
        Line("the same, after 100 people came and 1,000 events", milliseconds(median(changed))),
    ]


def _answered(
    question: str, seconds: float, bar: float, reference: str = "", beside: float | None = None
) -> Line:
    ratio = "" if beside is None else f"{beside / seconds:,.0f} times quicker"
    return Line(question, milliseconds(seconds), reference, ratio, f"≤ {milliseconds(bar)}", seconds <= bar)


def _statistics(calls: int) -> Line:
    """Compute in this process, without the wire; the slowest call counts."""
    servicer = StatisticsServicer()
    values = [
        statistics_pb2.Moments(n=n, mean=mean, m2=4e6) for n, mean in ((100_000, 10.5), (100_500, 10.7))
    ]
    counts = [statistics_pb2.Moments(n=each.n, mean=1.5, m2=1e5) for each in values]
    shares = [statistics_pb2.Proportion(participants=each.n, converted=10_000) for each in values]
    joint = [
        statistics_pb2.JointMoments(x=value, y=count, c=1e5)
        for value, count in zip(values, counts, strict=True)
    ]
    requests: dict[str, Message] = {
        "CompareProportions": statistics_pb2.CompareProportionsRequest(
            control=shares[0], treatment=shares[1]
        ),
        "CompareMeans": statistics_pb2.CompareMeansRequest(control=values[0], treatment=values[1]),
        "CompareRatios": statistics_pb2.CompareRatiosRequest(control=joint[0], treatment=joint[1]),
        "CheckSampleRatio": statistics_pb2.CheckSampleRatioRequest(
            participants=[each.n for each in values], expected=[1, 1]
        ),
        "PlanSampleSize": statistics_pb2.PlanSampleSizeRequest(
            control_ratio=0.1, minimum_relative_effect=0.02
        ),
        "AdjustPValues": statistics_pb2.AdjustPValuesRequest(
            p_values=[number / 100 for number in range(100)], adjustment=statistics_pb2.ADJUSTMENT_HOLM
        ),
    }
    asked = [partial(getattr(servicer, name), request, None) for name, request in requests.items()]
    taken = dict(zip(requests, measuring.medians(asked, 10 * calls), strict=True))
    slowest = max(taken, key=taken.__getitem__)
    return Line(
        f"StatisticsService, the slowest, {slowest}",
        milliseconds(taken[slowest]),
        bar=f"≤ {milliseconds(STATISTICS_SECONDS)}",
        is_met=taken[slowest] <= STATISTICS_SECONDS,
    )
