"""A load of everything at a modest rate, and what is sampled meanwhile."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import reduce
from operator import add

from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub

from benchmarks.soak import footprint
from benchmarks.soak.edges_load import Browser, Capture, Erring, Flags, Passing
from benchmarks.soak.events_load import Batches, Identities, Questions, Singles, Streams, counted
from benchmarks.soak.footprint import Footprint
from benchmarks.soak.services_load import Analyses, TellingAlerts
from benchmarks.soak.suite import Suite
from tests.faults.callers import Caller, Experiment, Funnel
from tests.faults.ledger import Ledger

SAMPLE_SECONDS = 10.0
REST_SECONDS = 20.0  # what was left behind is noticed, and connections are closed
TOLD_SECONDS = 60.0
AT_ONCE = 32  # more than a service has threads


@dataclass(frozen=True, slots=True)
class Sample:
    """What each part held at a moment, and how many connections to the database there were."""

    seconds: float
    parts: Mapping[str, Footprint]
    connections: int


@dataclass
class Load:
    """Everybody who calls, and what they were told."""

    callers: list[Caller]
    batches: Batches
    tellers: list[Singles | Streams | Identities | Capture]
    experiment: Experiment
    flags: Flags
    funnel: Funnel
    alerts: TellingAlerts
    arrived: Mapping[str, float]  # paths of the receiver that were told, by whom else but alerts
    _suite: Suite = field(repr=False)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have everybody call until the block ends."""
        with ExitStack() as stack:
            for caller in self.callers:
                stack.enter_context(caller)
            yield

    def failures(self) -> list[str]:
        """Return what failed that should not have."""
        return [failure for caller in self.callers for failure in caller.failures]

    def calls(self) -> int:
        """Return how many rounds there were."""
        return sum(caller.rounds for caller in self.callers)

    def acknowledged(self) -> Counter[str]:
        """Return how many events were acknowledged and not erased since, by name."""
        return reduce(add, [each.acknowledged for each in self.tellers], self.batches.acknowledged())

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
    experiment, funnel = Experiment(services["experiments"]), Funnel(services["funnels"])
    alerts = TellingAlerts(services["alerts"], receiver)
    analyses = Analyses(services["funnels"], services["experiments"], services["forecasting"])
    browser, capture, passing, flags = Browser(suite), Capture(suite), Passing(suite), Flags(suite)
    callers = [
        Caller("batches", batches.round, 0.5),
        Caller("single events", singles.round, 0.2),
        Caller("streams of events", streams.round, 5.0),
        Caller("merges and erasures", identities.round, 5.0),
        Caller("questions", Questions(services["events"]).round, 0.5),
        Caller("assignments", lambda number: experiment.round(experiment.stub, "soak", number), 0.25),
        Caller("steps of funnels", funnel.round, 0.3),
        Caller("analyses", analyses.round, 2.0),
        Caller("alerts", alerts.round, 3.0),
        Caller("dashboard", browser.look, 2.0),
        Caller("REST", browser.ask, 0.5),
        Caller("capture", capture.round, 1.0),
        Caller("flags", flags.round, 1.0),
        Caller("calls that must fail", Erring(suite).round, 0.5),
        Caller("clients that come and go", passing.round, 2.0),
        Caller("reflection", passing.look_around, 5.0),
    ]
    tellers: list[Singles | Streams | Identities | Capture] = [singles, streams, identities, capture]
    return Load(callers, batches, tellers, experiment, flags, funnel, alerts, arrived, suite)


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
    fill_pools(suite)
    with everybody.running():
        time.sleep(warm_up_seconds)
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


def fill_pools(suite: Suite) -> None:
    """Ask every service as much at once as it has threads and connections for: those stay."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for name in suite.addresses():
            with suite.channel(name) as channel:
                audit = AuditServiceStub(channel)
                calls = [
                    pool.submit(audit.ListAuditEntries, ListAuditEntriesRequest(), timeout=60)
                    for _ in range(4 * AT_ONCE)
                ]
                for call in calls:
                    call.result()


def sample(suite: Suite) -> Sample:
    """Look at every process of the suite."""
    return Sample(time.monotonic(), footprint.of_suite(suite.pid), suite.database_connections())
