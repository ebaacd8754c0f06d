"""A load of everything at a modest rate, and what is sampled meanwhile."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from benchmarks.soak import footprint
from benchmarks.soak.edges_load import Browser, Capture, Erring, Flags, Passing
from benchmarks.soak.events_load import (
    Batches,
    Identities,
    Questions,
    Singles,
    Streams,
    asked_events,
    counted,
)
from benchmarks.soak.footprint import Footprint
from benchmarks.soak.services_load import STEPS_MICROS, Analyses, TellingAlerts
from benchmarks.soak.suite import Suite
from tests.faults.callers import Caller, Experiment, Funnel
from tests.faults.ledger import Ledger

SAMPLE_SECONDS = 10.0
REST_SECONDS = 30.0  # connections left behind are closed, and gRPC gives back the threads it lent
TOLD_SECONDS = 60.0
AT_ONCE = 8  # as many as may stream
AT_FIRST = 400  # of each kind of caller that only reads: every connection meets every kind of question
# Connections keep buffers of the size of the longest message they ever carried, and sessions of PostgreSQL
# prepare what they have run five times. Both are done with, and what grows has mostly grown, after some
# minutes at this multiple of the load, behind which all calm down.
HASTE = 10.0
CALM_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What each part held at a moment, and how many connections to the database there were."""

    seconds: float
    parts: Mapping[str, Footprint]
    connections: Mapping[str, int]  # by service


@dataclass
class Load:
    """Everybody who calls, and what they were told."""

    callers: list[Caller]
    batches: Batches
    asked: Counter[str]  # events that were there before
    tellers: list[Singles | Streams | Identities | Capture]
    experiment: Experiment
    flags: Flags
    funnel: Funnel
    alerts: TellingAlerts
    readers: Sequence[Callable[[int], None]]
    arrived: Mapping[str, float]  # paths of the receiver that were told, by whom else but alerts
    _suite: Suite = field(repr=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have everybody call until the block ends."""
        with ExitStack() as stack:
            for caller in self.callers:
                stack.enter_context(caller)
            yield

    @contextmanager
    def hurrying(self) -> Iterator[None]:
        """Have everybody pause less between their rounds until the block ends."""
        for caller in self.callers:
            caller.pause_seconds /= HASTE
        yield
        for caller in self.callers:
            caller.pause_seconds *= HASTE

    def failures(self) -> list[str]:
        """Return what failed that should not have."""
        return [failure for caller in self.callers for failure in caller.failures]

    def calls(self) -> int:
        """Return how many rounds there were."""
        return sum(caller.rounds for caller in self.callers)

    def acknowledged(self) -> Counter[str]:
        """Return how many events were acknowledged and not erased since, by name."""
        return reduce(
            add, [each.acknowledged for each in self.tellers], self.batches.acknowledged() + self.asked
        )

    def counted(self) -> dict[str, int]:
        """Return how many events the service counts of each name."""
        with self._suite.channel("events") as channel:
            return counted(channel, sorted(self.acknowledged()))

    def untold(self) -> list[str]:
        """Say what experiments, funnels and alerts tell otherwise than it happened."""
        deadline = time.monotonic() + TOLD_SECONDS
        while len(self.arrived) < self.alerts.made and time.monotonic() < deadline:
            time.sleep(0.5)
        people = (len(self.experiment.variants) + self.flags.resolved, len(self.experiment.conversions))
        steps = [self.funnel.done[0], self.funnel.done[1]]
        facts = (
            ("alerts told", len(self.arrived), self.alerts.made),
            ("participants and conversions", self.experiment.counted(), people),
            ("people at each step", self.funnel.reached(), steps),
        )
        return [f"{what}: {told}, not {done}" for what, told, done in facts if told != done]


def load(suite: Suite, ledger: Ledger, receiver: str, arrived: Mapping[str, float]) -> Load:
    """Return the load; experiments and funnels it needs are made now."""
    services = {name: suite.channel(name) for name in suite.addresses()}
    batches = Batches(ledger, services["events"])
    singles, streams = Singles(services["events"]), Streams(services["events"])
    identities = Identities([services["events"], *(services[name] for name in services if name != "events")])
    experiment, funnel = Experiment(services["experiments"]), Funnel(services["funnels"], STEPS_MICROS)
    alerts = TellingAlerts(services["alerts"], receiver)
    analyses = Analyses(services["funnels"], services["experiments"], services["forecasting"])
    questions = Questions(services["events"])
    browser, capture, passing, flags = Browser(suite), Capture(suite), Passing(suite), Flags(suite)
    callers = [
        Caller("batches", batches.round, 0.5),
        Caller("single events", singles.round, 0.25),
        Caller("streams of events", streams.round, 5.0),
        Caller("merges and erasures", identities.round, 5.0),
        Caller("questions", questions.round, 0.75),
        Caller("assignments", lambda number: experiment.round(experiment.stub, "soak", number), 0.25),
        Caller("steps of funnels", funnel.round, 0.3),
        Caller("analyses", analyses.round, 2.0),
        Caller("alerts", alerts.round, 3.0),
        Caller("dashboard", browser.look, 2.0),
        Caller("REST", browser.ask, 1.0),
        Caller("capture", capture.round, 1.0),
        Caller("flags", flags.round, 1.0),
        Caller("calls that must fail", Erring(suite).round, 1.0),
        Caller("clients that come and go", passing.round, 2.0),
        Caller("reflection", passing.look_around, 5.0),
    ]
    tellers: list[Singles | Streams | Identities | Capture] = [singles, streams, identities, capture]
    asked = asked_events(services["events"])
    readers = [questions.round, analyses.round, browser.look, browser.ask]
    return Load(callers, batches, asked, tellers, experiment, flags, funnel, alerts, readers, arrived, suite)


@dataclass(frozen=True, slots=True)
class Observed:
    """What was sampled; `before` and `after` at rest, `samples` under load between them."""

    before: Sample
    samples: Sequence[Sample]
    after: Sample

    @property
    def busy_ratio(self) -> float:
        """How much of one processor the suite used."""
        return sum(map(self.busy_ratio_of, self.before.parts))

    def busy_ratio_of(self, part: str) -> float:
        """How much of one processor a part used."""
        used = self.after.parts[part].busy_seconds - self.before.parts[part].busy_seconds
        return used / (self.after.seconds - self.before.seconds)


def soak(suite: Suite, everybody: Load, seconds: float, warm_up_seconds: float) -> Observed:
    """Load the suite for `seconds`, of which the first warm it up, and sample the rest."""
    warm = time.monotonic() + warm_up_seconds
    fill_pools(everybody)
    with everybody.running():
        with everybody.hurrying():
            time.sleep(max(0.0, warm - CALM_SECONDS - time.monotonic()))
        time.sleep(max(0.0, warm - time.monotonic()))
    time.sleep(REST_SECONDS)
    before = sample(suite)
    began = time.monotonic()
    samples = []
    with everybody.running():
        while time.monotonic() < began + seconds - warm_up_seconds:
            time.sleep(SAMPLE_SECONDS)
            samples.append(sample(suite))
    time.sleep(REST_SECONDS)
    return Observed(before, samples, sample(suite))


def fill_pools(everybody: Load) -> None:
    """Ask everything, much at once: pools are filled, and each session has learnt of each table."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for ask in everybody.readers:
            for _ in pool.map(ask, range(AT_FIRST)):
                pass


def sample(suite: Suite) -> Sample:
    """Look at every process of the suite."""
    return Sample(time.monotonic(), footprint.of_suite(suite.pid), suite.database_connections())
