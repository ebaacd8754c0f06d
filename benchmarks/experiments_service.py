"""The experiments service as it is measured, and what is sent to it."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.events.v1 import events_pb2
from brain.experiments.v1 import experiments_pb2 as pb

from benchmarks import measuring
from benchmarks.stack import ServiceProcess

if TYPE_CHECKING:
    import grpc

    from benchmarks.stack import Stack

DATABASE = "experiments"
EXPERIMENT = "checkout"
SERVICE = "/brain.experiments.v1.ExperimentsService/"
BATCH = 5_000
VARIANTS = "abcd"
METRICS = 10
FOLD_SECONDS = 600

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


@contextmanager
def running(setting: Setting) -> Iterator[ServiceProcess]:
    """Run an experiments service on the setting's database."""
    with setting.stack.beside("experiments", DATABASE, setting.events) as service:
        yield service


def person(number: int) -> pb.Person:
    """Return somebody."""
    return pb.Person(user_id=f"user-{number:07}")


def assignments(people: Iterable[int]) -> bytes:
    """Return a batch of people to assign."""
    candidates = [pb.Candidate(person=person(number)) for number in people]
    return pb.AssignVariantsRequest(experiment_key=EXPERIMENT, candidates=candidates).SerializeToString()


def conversions(people: int, seed: int, count: int) -> Iterator[bytes]:
    """Yield batches of so many conversions of people at random."""
    generator = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        conversions = [
            pb.Conversion(
                conversion_id=f"{seed}-{start + number}",
                experiment_key=EXPERIMENT,
                person=person(who),
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


def send(service: ServiceProcess, method: str, requests: Iterable[bytes], callers: int) -> list[float]:
    """Send requests by so many callers; return how long each call took."""
    with service.channel() as channel, ThreadPoolExecutor(callers) as pool:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)

        def send(request: bytes) -> float:
            return measuring.seconds(lambda: call(request, metadata=service.metadata, timeout=120))

        return list(pool.map(send, requests))


def send_at(
    service: ServiceProcess, method: str, requests: Sequence[bytes], callers: int, per_second: float
) -> list[float]:
    """Send requests at a steady rate by so many callers; return from when each was due to its answer.

    What waits because the one before it was slow counts, too.
    """
    with service.channel() as channel, ThreadPoolExecutor(callers) as pool:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        call(requests[0], metadata=service.metadata, timeout=120)
        # Each caller takes the next one: to hand thousands of tasks to a pool takes from the first of them.
        waiting = iter(enumerate(requests))
        began = time.perf_counter() + 0.1

        def send(_: int) -> list[float]:
            waited = []
            for number, request in waiting:
                due = began + number / per_second
                time.sleep(max(0.0, due - time.perf_counter()))
                call(request, metadata=service.metadata, timeout=120)
                waited.append(time.perf_counter() - due)
            return waited

        return [seconds for waited in pool.map(send, range(callers)) for seconds in waited]


def more_events(numbers: Iterable[int], people: int) -> bytes:
    """Return a batch of events, by their numbers, that feed the metrics."""
    now = time.time_ns() // 1000
    events = []
    for number in numbers:
        event = events_pb2.Event(
            event_id=f"e-{number}",
            user_id=person(number % people).user_id,
            session_id="s",
            event=f"bought {number % METRICS}",
            value=number % 1_000 / 100,
        )
        event.event_time.FromMicroseconds(now)
        events.append(event)
    return events_pb2.TrackEventsRequest(events=events).SerializeToString()


def wait(setting: Setting, statement: str) -> None:
    """Wait until a statement says so."""
    deadline = time.monotonic() + FOLD_SECONDS
    with setting.stack.postgres.connect(DATABASE) as connection:
        while not (connection.execute(statement.encode()).fetchone() or (False,))[0]:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not within {FOLD_SECONDS} s: {statement}")
            time.sleep(0.2)
