"""Everything of an experiment counted in plain Python, and callers that track at random."""

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event

import sqlalchemy
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.experiments.domain import Experiment
from services.experiments.lifecycle import store as experiments
from services.experiments.results import store
from services.experiments.results.folded import read_current
from services.experiments.results.folding import Folder
from services.experiments.results.participants import ParticipantColumns
from services.experiments.results.totals import Sums, Totals
from shared.calendar import to_micros
from tests.services.experiments.asking import (
    assign_all,
    person,
)
from tests.services.experiments.conftest import Service

METRICS = ["signup", "revenue"]
HOUR = 3_600_000_000
NAMES = [f"u-{number}" for number in range(60)]


ALWAYS = datetime(9999, 1, 1, tzinfo=UTC)


def counted(connection: sqlalchemy.Connection, experiment: Experiment, until: datetime = ALWAYS) -> Totals:
    """Everything of an experiment before a moment, row by row."""
    overridden = set(connection.exec_driver_sql("SELECT user_key FROM overrides").scalars())
    taking_part = {}
    split: dict[int, list[int]] = {}
    conflicting = 0
    for row in connection.exec_driver_sql("SELECT * FROM assignments WHERE exposed_time IS NOT NULL"):
        if row.user_key in overridden or row.exposed_time >= until:
            continue
        conflicting += row.conflicting
        if not row.conflicting:
            taking_part[row.user_key] = (row.variant, row.exposed_time)
            split.setdefault(row.allocation, [0] * len(experiment.variants))[row.variant] += 1
    values: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    window = timedelta(seconds=experiment.window_seconds or 10**8)
    for row in connection.exec_driver_sql("SELECT * FROM conversions"):
        variant, exposed = taking_part.get(row.user_key, (None, None))
        if variant is not None and exposed <= row.conversion_time < min(exposed + window, until):
            values[row.metric, variant, row.user_key].append(row.value)
    sums: dict[tuple[str, int], Sums] = {}
    for metric, variant in {each[:2] for each in values}:
        people = [found for (*names, _), found in values.items() if names == [metric, variant]]
        totals, numbers = list(map(sum, people)), list(map(len, people))
        sums[metric, variant] = Sums(
            len(people),
            sum(numbers),
            sum(number**2 for number in numbers),
            sum(totals),
            sum(total**2 for total in totals),
            sum(total * number for total, number in zip(totals, numbers, strict=True)),
        )
    shares = {row.allocation: row.shares for row in connection.exec_driver_sql("SELECT * FROM allocations")}
    return Totals(split, shares, conflicting, len(overridden), sums)


@contextmanager
def snapshot(service: Service) -> Iterator[sqlalchemy.Connection]:
    with (
        service.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection,
        connection.begin(),
    ):
        yield connection


TAKING_PART = """
SELECT user_key, variant, exposed_time FROM assignments
WHERE exposed_time IS NOT NULL AND NOT conflicting AND user_key NOT IN (SELECT user_key FROM overrides)
ORDER BY user_key
"""


def check(service: Service, columns: ParticipantColumns | None = None) -> Totals:
    """Compare what is kept with what is stored; return it."""
    columns = columns or ParticipantColumns()
    with snapshot(service) as connection:
        experiment = experiments.read(connection, "colour").experiment
        found = read_current(connection, experiment, METRICS)
        held = columns.current(connection, experiment)
        assert found == counted(connection, experiment)
        assert found == store.recount(connection, experiment, METRICS)
        rows = connection.exec_driver_sql(TAKING_PART).all()
        assert held.user_keys.tolist() == [row.user_key for row in rows]
        assert held.variants.tolist() == [row.variant for row in rows]
        assert held.exposed.tolist() == [to_micros(row.exposed_time) for row in rows]
    return found


def check_until(done: Event, service: Service, columns: ParticipantColumns) -> None:
    while not done.is_set():
        check(service, columns)


def of(service: Service) -> Experiment:
    with snapshot(service) as connection:
        return experiments.read(connection, "colour").experiment


def fold_all(service: Service) -> None:
    folder, experiment = Folder(service.engine), of(service)
    while folder.waiting():  # the service's own thread may be at it
        folder.fold(experiment)


def at(micros: int) -> Timestamp:
    made = Timestamp()
    made.FromMicroseconds(micros)
    return made


class Tracker:
    """Does what callers do, at random; `now` is the start of the test."""

    def __init__(self, service: Service, seed: int, now: int) -> None:
        self.service = service
        self.random = random.Random(seed)
        self.now = now
        self.seed = seed
        self.sent = 0

    def act(self) -> None:
        acts = [
            self.assign,
            self.expose,
            self.expose,
            self.convert,
            self.convert,
            self.convert,
            self.override,
        ]
        self.random.choice(acts)()

    def assign(self) -> None:
        assign_all(self.service, self.random.sample(NAMES, 5))

    def expose(self) -> None:
        exposures = [
            pb.Exposure(
                experiment_key="colour",
                person=person(self.random.choice(NAMES)),
                exposure_time=at(self.now + self.random.randrange(20) * HOUR),
                variant=self.random.choice(["", "", "", "", "a"]),
            )
            for _ in range(self.random.randrange(1, 6))
        ]
        self.service.experiments.TrackExposures(pb.TrackExposuresRequest(exposures=exposures))

    def convert(self) -> None:
        conversions = [
            pb.Conversion(
                conversion_id=f"{self.seed}-{self.sent + number}",
                experiment_key="colour",
                person=person(self.random.choice(NAMES)),
                metric=self.random.choice(METRICS),
                value=self.random.choice([0.0, 0.25, 9e11]),
                conversion_time=at(self.now + self.random.randrange(24) * HOUR),
            )
            for number in range(self.random.randrange(1, 9))
        ]
        self.sent += self.random.randrange(1, 9)  # some ids come again
        self.service.experiments.TrackConversions(pb.TrackConversionsRequest(conversions=conversions))

    def override(self) -> None:
        if self.random.random() < 0.3:
            self.service.experiments.SetOverride(
                pb.SetOverrideRequest(
                    experiment_key="colour",
                    person=person(self.random.choice(NAMES)),
                    variant=self.random.choice(["", "", "a"]),
                )
            )
