"""Two replicas of every service under load: restarted in turn, then killed at random. No caller notices."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import grpc
import psycopg
import pytest
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub

from shared import clients
from shared.healthcheck import says_serving
from tests.faults import checker
from tests.faults.callers import Alerts, Caller, Experiment, Forecasts, Funnel
from tests.faults.ledger import Ledger, read
from tests.faults.load import Load, Manner
from tests.faults.servers import within
from tests.system.launcher import Launcher, eventually, free_ports

pytestmark = pytest.mark.faults

SERVICES = ("events", "experiments", "funnels", "forecasting", "alerts")
SECONDS = 60.0
FOUND_AGAIN_SECONDS = 2.0  # clients try an address that was away again after a second
SERVING_SECONDS = 120.0  # beside everything else that runs
JUDGED_SECONDS = 60.0
FIRED = """
SELECT count(*), count(DISTINCT alert_key) FROM history JOIN alert_states USING (alert_key)
WHERE history.episode = 1 AND history.changed AND alert_states.episode = 1
"""


class Suite:
    """The suite on this machine, two processes of each service."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self._token = (launcher.directory / "admin.token").read_text().strip()

    def replicas(self, service: str) -> list[str]:
        return [self.launcher.address_of(each) for each in (service, f"{service}.2")]

    def channel(self, service: str) -> grpc.Channel:
        """Open a channel as the suite's own clients do, with their retry policy and nothing else."""
        return clients.channel(",".join(self.replicas(service)), self._token)

    def connect(self, schema: str) -> "psycopg.Connection[Any]":
        host = str(self.launcher.directory / "postgres")
        options = f"-c search_path={schema}"
        return psycopg.connect(host=host, user="brain", dbname="brain", autocommit=True, options=options)

    def count(self, schema: str, query: str) -> tuple[int, ...]:
        with self.connect(schema) as connection:
            return tuple(connection.execute(query.encode()).fetchone() or ())

    def kill_one(self, random: Random) -> None:
        """End a random process, and wait until all serve again and clients have found it."""
        serving = {pid for pid, line in self.launcher.processes().items() if " -m services." in line}
        before = self.launcher.said().count("was started again")
        os.kill(random.choice(sorted(serving)), signal.SIGKILL)
        eventually(lambda: self.launcher.said().count("was started again") > before, self.launcher.said)
        addresses = [each for service in SERVICES for each in self.replicas(service)]
        eventually(lambda: all(map(says_serving, addresses)), self.launcher.said, SERVING_SECONDS)
        sleep(FOUND_AGAIN_SECONDS)


@pytest.fixture
def suite(scratch_directory: Path) -> Iterator[Suite]:
    directory = scratch_directory / "replicas"
    launcher = Launcher(directory, free_ports(replicas=2), replicas=2)
    try:
        launcher.wait_for("Analytics Brain is up")
        yield Suite(launcher)
    finally:
        launcher.stop()
        shutil.rmtree(directory)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    """Whatever a test opens on it ends with the test."""
    with ExitStack() as stack:
        yield stack


def test_restarts_and_kills_fail_no_call_and_lose_nothing(
    suite: Suite,
    ledger: Ledger,
    opened: ExitStack,
    lasting: Callable[[float], float],
    tell: Callable[..., None],
) -> None:
    experiment = Experiment(opened.enter_context(suite.channel("experiments")))
    funnel = Funnel(opened.enter_context(suite.channel("funnels")))
    forecasts = Forecasts(opened.enter_context(suite.channel("forecasting")))
    alerts = Alerts(opened.enter_context(suite.channel("alerts")))
    callers = [
        *assigning(suite, experiment, opened),
        Caller("funnel", funnel.round, 0.1),
        Caller("forecasts", forecasts.round, 0.5),
        Caller("alerts", alerts.round, 0.5),
    ]
    # The channel's own attempts, and no more.
    manner = Manner(clients=4, retry_seconds=0, pause_seconds=0.1)
    load = Load(ledger, lambda _client: suite.channel("events"), manner)
    with ExitStack() as loaded:
        loaded.enter_context(load)
        for caller in callers:
            loaded.enter_context(caller)
        restarted = suite.launcher.restart()
        kills = kill_for(lasting(SECONDS), suite)
    rounds = {f"{each.name} rounds": each.rounds for each in callers}
    longest = f"{max(each.longest_seconds for each in callers):.1f} s"
    tell(kills=kills, **load.tally.figures(), **rounds, longest_round=longest)
    assert (restarted.returncode, restarted.stderr) == (0, "")
    assert [failure for caller in callers for failure in caller.failures] == []
    assert not load.tally.failed_calls
    compare_events(suite, ledger)
    compare_experiment(suite, experiment)
    compare_the_others(suite, funnel, alerts)


def assigning(suite: Suite, experiment: Experiment, opened: ExitStack) -> Iterator[Caller]:
    """Two callers who ask for the same people over channels of their own."""
    for name in ("experiment", "experiment.2"):
        stub = ExperimentsServiceStub(opened.enter_context(suite.channel("experiments")))
        yield Caller(name, lambda number, stub=stub, name=name: experiment.round(stub, name, number), 0.1)  # type: ignore[misc]  # bound as they are now


def kill_for(seconds: float, suite: Suite) -> int:
    random, kills, end = Random(1), 0, monotonic() + seconds
    while monotonic() < end:
        suite.kill_one(random)
        kills += 1
    return kills


def compare_events(suite: Suite, ledger: Ledger) -> None:
    with suite.connect("events") as connection:
        verdict = checker.check(read(ledger.path), connection)
    assert not verdict.problems
    assert verdict.unknown == 0
    assert verdict.acknowledged == verdict.stored == verdict.sent > 0


def compare_experiment(suite: Suite, experiment: Experiment) -> None:
    told = experiment.variants
    assert {user: variants for user, variants in told.items() if len(variants) > 1} == {}
    assert experiment.counted() == (len(told), len(experiment.conversions))
    kept = suite.count("experiments", "SELECT count(*), count(DISTINCT conversion_id) FROM conversions")
    assert kept == (len(experiment.conversions), len(experiment.conversions))


def compare_the_others(suite: Suite, funnel: Funnel, alerts: Alerts) -> None:
    assert funnel.reached() == [funnel.done[0], funnel.done[1]]
    assert suite.count("funnels", "SELECT count(*) FROM step_records") == (funnel.done.total(),)
    judged = (len(alerts.made), len(alerts.made))
    assert within(JUDGED_SECONDS, lambda: suite.count("alerts", FIRED) == judged), suite.count(
        "alerts", FIRED
    )
