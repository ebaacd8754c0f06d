"""Experiments: assigning, results of tracked conversions and of events, statistics.

Beside assigning stands an empty call to the same server, beside results a recount of everything that is kept.
"""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from typing import TYPE_CHECKING

import grpc
import numpy as np
from brain.events.v1 import events_pb2
from brain.experiments.v1 import experiments_pb2 as pb
from brain.experiments.v1 import statistics_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from grpc_health.v1 import health_pb2

from benchmarks import measuring
from benchmarks.report import Line, milliseconds, per_second
from benchmarks.stack import KEY, ServiceProcess, free_port
from deploy import children
from deploy.processes import says_serving
from services.experiments.lifecycle import store as experiments
from services.experiments.results import store
from services.experiments.statistics_servicer import StatisticsServicer
from shared import migrations
from shared.database import create_engine

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from benchmarks.stack import Stack

DATABASE = "experiments"
EXPERIMENT = "checkout"
SERVICE = "/brain.experiments.v1.ExperimentsService/"
BATCH = 5_000
VARIANTS = "abcd"
METRICS = 10
CALLERS = 16
START_SECONDS = 60
FOLD_SECONDS = 600
UNARY_RATIO, UNARY_P99_SECONDS = 0.5, 0.010
BATCH_PER_SECOND = 50_000
TRACKED_SECONDS, COLD_SECONDS, WARM_SECONDS, STATISTICS_SECONDS = 0.150, 2.0, 0.300, 0.001

TRACKED = [pb.Metric(name=f"tracked_{number}", kind=pb.METRIC_KIND_VALUE) for number in range(METRICS)]
FED = [
    pb.Metric(name=f"fed_{number}", kind=pb.METRIC_KIND_VALUE, feed=pb.EventFeed(event=f"bought {number}"))
    for number in range(METRICS)
]


@dataclass(frozen=True)
class Setting:
    """Where everything is, and how many people take part."""

    stack: "Stack"
    events: ServiceProcess
    people: int

    @property
    def url(self) -> str:
        """Return where the experiments service finds its database."""
        return self.stack.postgres.url(DATABASE, "experiments")


def run(stack: "Stack", people: int, calls: int) -> list[Line]:
    """Measure with so many participants, and as many conversions and events; each call so often."""
    stack.create(DATABASE)
    stack.postgres.create_schema(DATABASE, "experiments")
    with stack.service(DATABASE) as events:
        setting = Setting(stack, events, people)
        migrations.upgrade(setting.url, "experiments", "services.experiments")
        with _running(setting) as service:
            lines = _fill(service, setting)
        with _running(setting) as service:
            lines += [*_batches(service, setting), *_unary(service, setting, calls)]
        with _running(setting) as service:
            lines += _tracked(service, setting, calls)
            _track_events(setting)
            _change_metrics(service, FED)
            _wait(setting, f"SELECT count(*) >= {people} FROM experiments.event_identities")
        with _running(setting) as service:
            lines += _fed(service, setting, calls)
    stack.drop(DATABASE)
    return [*lines, _statistics(calls)]


@contextmanager
def _running(setting: Setting) -> Iterator[ServiceProcess]:
    stack, address = setting.stack, f"127.0.0.1:{free_port()}"
    token = stack.directory / "events.token"
    token.write_text(stack.token)
    chosen = {
        "ADDRESS": address,
        "METRICS_ADDRESS": f"127.0.0.1:{free_port()}",
        "FLAGD_ADDRESS": f"127.0.0.1:{free_port()}",
        "DATABASE_URL": setting.url,
        "TOKEN_PUBLIC_KEY_FILE": str(stack.directory / "public.pem"),
        "ENCRYPTION_KEYS": f"1:{KEY}",
        "BLIND_INDEX_KEY": KEY,
        "EVENTS_ADDRESS": setting.events.address,
        "EVENTS_TOKEN_FILE": str(token),
    }
    environment = os.environ | {f"EXPERIMENTS_{name}": value for name, value in chosen.items()}
    log = stack.directory / "experiments.log"
    process = children.start([sys.executable, "-m", "services.experiments"], log=log, environment=environment)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not says_serving(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the service does not start:\n{children.tail(log)}")
            time.sleep(0.05)
        yield ServiceProcess(process.pid, address, stack.token)
    finally:
        process.terminate()
        process.wait()


def _person(number: int) -> pb.Person:
    return pb.Person(user_id=f"user-{number:07}")


def _assignments(people: Iterable[int]) -> bytes:
    candidates = [pb.Candidate(person=_person(number)) for number in people]
    return pb.AssignVariantsRequest(experiment_key=EXPERIMENT, candidates=candidates).SerializeToString()


def _conversions(people: int, seed: int, count: int) -> Iterator[bytes]:
    generator = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        conversions = [
            pb.Conversion(
                conversion_id=f"{seed}-{start + number}",
                experiment_key=EXPERIMENT,
                person=_person(who),
                metric=TRACKED[number % METRICS].name,
                value=value,
            )
            for number, (who, value) in enumerate(
                zip(
                    generator.integers(people, size=size).tolist(),
                    generator.exponential(50, size).round(2).tolist(),
                    strict=True,
                )
            )
        ]
        yield pb.TrackConversionsRequest(conversions=conversions).SerializeToString()


def _send(service: ServiceProcess, method: str, requests: Iterable[bytes], callers: int) -> list[float]:
    """Send requests by so many callers; return how long each call took."""
    with service.channel() as channel, ThreadPoolExecutor(callers) as pool:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)

        def send(request: bytes) -> float:
            return measuring.seconds(lambda: call(request, metadata=service.metadata, timeout=120))

        return list(pool.map(send, requests))


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
    requests = [_assignments(range(at, at + BATCH)) for at in range(0, people, BATCH)]
    assigning = measuring.seconds(lambda: _send(service, f"{SERVICE}AssignVariants", requests, 2))
    conversions = list(_conversions(people, 1, people))
    tracking = measuring.seconds(lambda: _send(service, f"{SERVICE}TrackConversions", conversions, 2))
    nothing_waits = "SELECT NOT EXISTS (SELECT FROM experiments.touched)"
    folding = measuring.seconds(lambda: _wait(setting, nothing_waits))
    setting.stack.settle(DATABASE)
    return [
        Line("AssignVariants at first sight", per_second(people, assigning)),
        Line("TrackConversions", per_second(people, tracking), f"folded {folding:.0f} s after it"),
    ]


def _batches(service: ServiceProcess, setting: Setting) -> list[Line]:
    """Assign people who are stored, then the same ones, whom the service remembers."""
    some = min(setting.people, 100_000)
    requests = [_assignments(range(at, at + BATCH)) for at in range(0, some, BATCH)]
    _send(service, f"{SERVICE}AssignVariants", [_assignments(range(some, some + 1))], 1)
    stored, *again = (
        measuring.seconds(lambda: _send(service, f"{SERVICE}AssignVariants", requests, 2)) for _ in range(6)
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
        pb.AssignVariantRequest(experiment_key=EXPERIMENT, person=_person(number)).SerializeToString()
        for number in known
    ]
    empty = [health_pb2.HealthCheckRequest().SerializeToString()] * count
    rates: dict[str, list[float]] = {"assign": [], "empty": []}
    latencies: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        _send(service, "/grpc.health.v1.Health/Check", empty, CALLERS)
        rates["empty"].append(count / (time.perf_counter() - began))
        began = time.perf_counter()
        latencies += _send(service, f"{SERVICE}AssignVariant", assignments, CALLERS)
        rates["assign"].append(count / (time.perf_counter() - began))
    rate, reference = median(rates["assign"]), median(rates["empty"])
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
            "its 99th percentile at that rate",
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
            _send(service, f"{SERVICE}TrackConversions", _conversions(setting.people, seed, BATCH), 1)
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


def _events(numbers: Iterable[int], people: int) -> bytes:
    now = time.time_ns() // 1000
    events = []
    for number in numbers:
        event = events_pb2.Event(
            event_id=f"e-{number}",
            user_id=_person(number % people).user_id,
            session_id="s",
            event=f"bought {number % METRICS}",
            value=number % 1_000 / 100,
        )
        event.event_time.FromMicroseconds(now)
        events.append(event)
    return events_pb2.TrackEventsRequest(events=events).SerializeToString()


def _track_events(setting: Setting) -> None:
    """Everybody does one event."""
    people = setting.people
    requests = (_events(range(at, at + BATCH), people) for at in range(0, people, BATCH))
    _send(setting.events, "/brain.events.v1.EventsService/TrackEvents", requests, 2)


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
            _send(service, f"{SERVICE}AssignVariants", [_assignments(newcomers)], 1)
            more = _events(range(people * (at + 2), people * (at + 2) + 1_000), people)
            _send(setting.events, "/brain.events.v1.EventsService/TrackEvents", [more], 1)
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


def _wait(setting: Setting, statement: str) -> None:
    """Wait until a statement says so."""
    deadline = time.monotonic() + FOLD_SECONDS
    with setting.stack.postgres.connect(DATABASE) as connection:
        while not (connection.execute(statement.encode()).fetchone() or (False,))[0]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {FOLD_SECONDS} s: {statement}")
            time.sleep(0.2)


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
