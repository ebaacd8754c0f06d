"""A backup taken under load: what was acknowledged before comes back, who was erased since does not."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic

import grpc
import psycopg
import pytest
from brain.alerts.v1 import alerts_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.alerts.v1.definition_pb2 import CHANNEL_KIND_SLACK, Channel
from brain.events.v1.events_pb2 import USER_KIND_USER, TrackEventsRequest, UserReference
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.experiments.v1 import experiments_pb2
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from brain.privacy.v1 import privacy_pb2
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceStub

from deploy.backup import running_server
from shared import clients
from tests.faults import checker
from tests.faults.ledger import Answer, Ledger, Operation, Outcome, read
from tests.faults.load import Load, Manner
from tests.faults.made_events import events, new_ids
from tests.services.alerts.asking import definition
from tests.system.launcher import Launcher, eventually, free_ports

pytestmark = pytest.mark.faults

ANN = "ann"
BRAIN = "from brain_client.cli import main; main()"
WEBHOOK = "https://hooks.slack.com/services/T/B/x"
CLIENTS = Manner(clients=4, batch=20)
ASSIGNED = [
    experiments_pb2.Candidate(person=experiments_pb2.Person(user_id=f"user {number}"))
    for number in range(300)
]


class Suite:
    """The one-machine run in a directory, started and stopped, and asked as its administrator."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.ports = free_ports()
        self._starts = 0

    @contextmanager
    def up(self) -> Iterator[None]:
        self._starts += 1
        launcher = Launcher(self.directory, self.ports, output=f"{self._starts}.output")
        try:
            launcher.wait_for("Analytics Brain is up")
            yield
            assert launcher.stop() == 0
        finally:
            if launcher.process.poll() is None:
                launcher.stop(signal.SIGTERM)
            eventually(lambda: not launcher.processes(), lambda: str(launcher.processes()))

    def token(self) -> str:
        return (self.directory / "admin.token").read_text().strip()

    def channel(self, place: int = 0) -> grpc.Channel:
        return clients.channel(f"127.0.0.1:{self.ports[place]}", self.token())

    def connect(self) -> "psycopg.Connection[tuple[object, ...]]":
        found = running_server(self.directory / "postgres")
        connection = psycopg.connect(
            host=found["PGHOST"],
            port=found["PGPORT"],
            user=found["PGUSER"],
            password=found["PGPASSWORD"],
            dbname="brain",
            autocommit=True,
        )
        connection.execute("SET search_path = events")
        return connection

    def run(self, *command: str) -> "subprocess.CompletedProcess[str]":
        """A command that knows where this suite is."""
        told = {
            "BRAIN_DIRECTORY": str(self.directory),
            "BRAIN_EVENTS_PORT": str(self.ports[0]),
            "BRAIN_EXPERIMENTS_PORT": str(self.ports[4]),
            "BRAIN_FUNNELS_PORT": str(self.ports[7]),
            "BRAIN_ALERTS_PORT": str(self.ports[9]),
            "BRAIN_FORECASTING_PORT": str(self.ports[11]),
        }
        environment = {
            **os.environ,
            **told,
            "BRAIN_TOKEN": (self.directory / "admin.token").read_text().strip(),
        }
        return subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, check=False
        )

    def addresses(self) -> list[str]:
        return [f"127.0.0.1:{self.ports[place]}" for place in (0, 4, 7, 9, 11)]


@pytest.fixture
def suite(scratch_directory: Path) -> Iterator[Suite]:
    directory = scratch_directory / "suite"
    yield Suite(directory)
    shutil.rmtree(directory)
    shutil.rmtree(scratch_directory / "backup", ignore_errors=True)


def erase(suite: Suite, address: str, user: str) -> None:
    request = privacy_pb2.EraseUserRequest(
        user=UserReference(kind=USER_KIND_USER, id=user), mode=privacy_pb2.ERASURE_MODE_ERASE
    )
    with clients.channel(address, suite.token()) as channel:
        PrivacyServiceStub(channel).EraseUser(request)


def export(suite: Suite, address: str, user: str) -> list[str]:
    """Names of the tables that hold something of somebody."""
    request = privacy_pb2.ExportUserRequest(user=UserReference(kind=USER_KIND_USER, id=user))
    with clients.channel(address, suite.token()) as channel:
        replies = PrivacyServiceStub(channel).ExportUser(request)
        return [json.loads(line)["table"] for reply in replies for line in reply.json_lines]


def fill(suite: Suite) -> None:
    """Somebody who will be erased, in each service that knows people; an experiment; an alert."""
    with suite.channel(0) as channel:
        of_ann = events(new_ids(30))
        for each in of_ann:
            each.user_id = ANN
        EventsServiceStub(channel).TrackEvents(TrackEventsRequest(events=of_ann))
    with suite.channel(4) as channel:
        stub = ExperimentsServiceStub(channel)
        variants = [
            experiments_pb2.Variant(name=name, allocation_percent=50) for name in ("control", "treatment")
        ]
        metric = experiments_pb2.Metric(name="bought", kind=experiments_pb2.METRIC_KIND_CONVERSION)
        made = experiments_pb2.ExperimentDefinition(
            name="Prices", hypothesis="None.", variants=variants, metrics=[metric]
        )
        stub.CreateExperiment(experiments_pb2.CreateExperimentRequest(key="prices", definition=made))
        stub.StartExperiment(experiments_pb2.StartExperimentRequest(experiment_key="prices"))
        ann = experiments_pb2.Candidate(person=experiments_pb2.Person(user_id=ANN))
        stub.AssignVariants(experiments_pb2.AssignVariantsRequest(experiment_key="prices", candidates=[ann]))
    with suite.channel(9) as channel:
        channels = [Channel(kind=CHANNEL_KIND_SLACK, recipients=[WEBHOOK])]
        request = alerts_pb2.CreateAlertRequest(alert_id="e", definition=definition(channels=channels))
        AlertsServiceStub(channel).CreateAlert(request)


def assignments(suite: Suite) -> list[experiments_pb2.Assignment]:
    """Their times of assignment with them: nobody was assigned anew."""
    request = experiments_pb2.AssignVariantsRequest(experiment_key="prices", candidates=ASSIGNED)
    with suite.channel(4) as channel:
        return list(ExperimentsServiceStub(channel).AssignVariants(request).assignments)


def back_up_under_load(suite: Suite, ledger: Ledger, target: Path) -> list[Operation]:
    """The operations; what was answered after the backup began may be in it or not."""
    with Load(ledger, lambda _: suite.channel(0), CLIENTS) as load:
        eventually(lambda: load.tally.calls >= 40, lambda: str(load.tally))
        before = {each.number for each in read(ledger.path) if each.answer.outcome is Outcome.OK}
        done = suite.run("-m", "deploy.backup", str(target))
        assert done.returncode == 0, done.stderr
        assert "secrets.env" in done.stdout
        calls = load.tally.calls
        eventually(lambda: load.tally.calls >= calls + 20, lambda: str(load.tally))
    assert not load.tally.failed_calls
    unknown = Answer(Outcome.UNKNOWN)
    return [each if each.number in before else replace(each, answer=unknown) for each in read(ledger.path)]


def erase_everywhere(suite: Suite) -> str:
    """Erase after the backup; return what `brain privacy tombstones export` prints."""
    events_address, experiments_address, _, alerts_address, _ = suite.addresses()
    erase(suite, events_address, ANN)
    erase(suite, experiments_address, ANN)
    erase(suite, alerts_address, WEBHOOK)
    services = [part for address in suite.addresses() for part in ("--service", address)]
    exported = suite.run("-c", BRAIN, "privacy", "tombstones", "export", *services)
    assert exported.returncode == 0, exported.stderr
    assert len(exported.stdout.splitlines()) == 3
    return exported.stdout


def check(suite: Suite, operations: Sequence[Operation], assigned: list[experiments_pb2.Assignment]) -> int:
    """Return how many events are there."""
    with suite.connect() as connection:
        verdict = checker.check(operations, connection)
    assert verdict.problems == ()
    assert assignments(suite) == assigned
    events_address, experiments_address, _, alerts_address, _ = suite.addresses()
    for address, erased in ((events_address, ANN), (experiments_address, ANN), (alerts_address, WEBHOOK)):
        assert set(export(suite, address, erased)) <= {"tombstones"}
    return verdict.stored


@pytest.mark.parametrize("lost", [False, True], ids=["replaced", "after the loss of the disk"])
def test_a_backup_under_load_restores_what_was_acknowledged_and_nobody_erased(
    suite: Suite,
    ledger: Ledger,
    scratch_directory: Path,
    tmp_path: Path,
    tell: Callable[..., None],
    *,
    lost: bool,
) -> None:
    target, exported = scratch_directory / "backup", tmp_path / "tombstones.jsonl"
    with suite.up():
        fill(suite)
        assigned = assignments(suite)
        operations = back_up_under_load(suite, ledger, target)
        exported.write_text(erase_everywhere(suite))
        running = suite.run("-m", "deploy.restore", str(target), "--replace")
        assert (running.returncode, "already runs" in running.stderr) == (1, True)
    began = monotonic()
    if lost:
        shutil.rmtree(suite.directory / "postgres")
        shutil.rmtree(suite.directory / "erasures")
        restored = suite.run("-m", "deploy.restore", str(target), "--tombstones", str(exported))
    else:
        refused = suite.run("-m", "deploy.restore", str(target))
        assert "--replace gives them up" in refused.stderr
        restored = suite.run("-m", "deploy.restore", str(target), "--replace")
    assert restored.returncode == 0, restored.stderr
    with suite.up():
        seconds = monotonic() - began
        stored = check(suite, operations, assigned)
    acknowledged = sum(len(each.ids) for each in operations if each.answer.outcome is Outcome.OK)
    tell(acknowledged_before=acknowledged, restored=stored, serving_after=f"{seconds:.1f} s")
    assert stored >= acknowledged
