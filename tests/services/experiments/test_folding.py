"""Sums that are kept up to date, against plain Python over all that is stored, in the same snapshot."""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Event

import alembic.command
import pytest
import sqlalchemy
from alembic.config import Config
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.experiments.domain import Experiment
from services.experiments.lifecycle import store as experiments
from services.experiments.results import store
from services.experiments.results.folded import read_current, waiting_people
from services.experiments.results.folding import Folder
from services.experiments.results.participants import ParticipantColumns
from services.experiments.results.totals import Sums, Totals
from shared import migrations
from shared.calendar import to_micros
from tests.services.experiments.asking import (
    REVENUE,
    SIGNUP,
    assign,
    assign_all,
    convert,
    create,
    definition,
    person,
    results,
    start,
)
from tests.services.experiments.conftest import Clock, Service

METRICS = ["signup", "revenue"]
HOUR = 3_600_000_000
NAMES = [f"u-{number}" for number in range(60)]


def counted(connection: sqlalchemy.Connection, experiment: Experiment) -> Totals:
    """Everything of an experiment, row by row."""
    overridden = set(connection.exec_driver_sql("SELECT user_key FROM overrides").scalars())
    taking_part = {}
    split: dict[int, list[int]] = {}
    conflicting = 0
    for row in connection.exec_driver_sql("SELECT * FROM assignments WHERE exposed_time IS NOT NULL"):
        if row.user_key in overridden:
            continue
        conflicting += row.conflicting
        if not row.conflicting:
            taking_part[row.user_key] = (row.variant, row.exposed_time)
            split.setdefault(row.allocation, [0] * len(experiment.variants))[row.variant] += 1
    values: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    window = timedelta(seconds=experiment.window_seconds or 10**8)
    for row in connection.exec_driver_sql("SELECT * FROM conversions"):
        variant, exposed = taking_part.get(row.user_key, (None, None))
        if variant is not None and exposed <= row.conversion_time < exposed + window:
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


@pytest.mark.parametrize("window_hours", [None, 6])
def test_sums_are_exact_while_replicas_track_and_fold(
    window_hours: int | None, start_service: Callable[..., Service], clock: Clock
) -> None:
    replicas = [start_service(), start_service()]
    service = replicas[0]
    more = {} if window_hours is None else {"conversion_window_seconds": window_hours * 3_600}
    create(service, what=definition(metrics=[SIGNUP, REVENUE], tracks_exposures=True, **more))
    start(service)
    experiment = of(service)
    done = Event()

    def track(seed: int) -> None:
        tracker = Tracker(replicas[seed % 2], seed, clock.micros)
        for _ in range(60):
            tracker.act()

    def fold(replica: Service) -> None:
        while not done.is_set():
            Folder(replica.engine).fold(experiment, maximum_people=3)

    columns = ParticipantColumns()  # of both checkers, one of which may lag behind the other
    with ThreadPoolExecutor(7) as pool:
        folding = [pool.submit(fold, replica) for replica in replicas]
        tracking = [pool.submit(track, seed) for seed in range(4)]
        try:
            checking = pool.submit(check_until, done, replicas[1], columns)
            while not all(each.done() for each in tracking):
                check(service, columns)
        finally:
            done.set()
        for each in [*tracking, *folding, checking]:
            each.result()
    before = check(service)
    fold_all(service)
    with snapshot(service) as connection:
        assert waiting_people(connection, experiment) == 0
    assert check(service) == before
    assert before.conflicting
    assert before.overridden
    assert len(before.sums) == 4


def test_folding_in_any_portions_changes_no_answer(service: Service, clock: Clock) -> None:
    create(service, what=definition(metrics=[SIGNUP, REVENUE], tracks_exposures=True))
    start(service)
    assign_all(service, NAMES)
    tracker = Tracker(service, 7, clock.micros)
    folder, experiment = Folder(service.engine), of(service)
    columns = ParticipantColumns()
    for _ in range(80):
        tracker.act()
        if tracker.random.random() < 0.5:
            folder.fold(experiment, maximum_people=tracker.random.randrange(1, 40))
        check(service, columns)


def test_what_is_deleted_leaves_the_sums(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP, REVENUE]))
    start(service)
    variants = assign_all(service, ["ann", "bob", "cyd"])
    for number, name in enumerate(variants):
        convert(service, number, name, metric="revenue", value=number + 1)
    fold_all(service)
    with service.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM conversions WHERE conversion_id = 'c-0'")
        connection.exec_driver_sql(
            "DELETE FROM assignments USING conversions AS done "
            "WHERE assignments.user_key = done.user_key AND done.conversion_id = 'c-1'"
        )
    found = check(service)
    assert sum(each.converted for each in found.sums.values()) == 1
    fold_all(service)
    assert check(service) == found
    assert results(service).participants == 2


def test_a_locked_experiment_is_left_to_the_other_replica(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    assign(service, "ann")
    fold_all(service)
    with service.engine.begin() as connection:
        connection.exec_driver_sql("SELECT FROM fold_states FOR UPDATE")
        convert(service, 1, "ann")
        assert not Folder(service.engine).fold(of(service))
        check(service)
    fold_all(service)
    assert sum(each.converted for each in check(service).sums.values()) == 1


def test_a_backlog_is_recounted_instead(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    assign_all(service, NAMES)
    with service.engine.begin() as connection:
        connection.exec_driver_sql("SELECT FROM fold_states FOR UPDATE")  # nobody folds meanwhile
        convert(service, 1, NAMES[0])
        for maximum in (10, 0):
            monkeypatch.setattr(store, "MAXIMUM_WAITING", maximum)
            found = results(service)
            assert (found.participants, sum(each.converted for each in found.metrics[0].variants)) == (60, 1)


def test_participants_count_by_the_allocation_they_came_under(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    assign_all(service, NAMES[:20])
    allocation = [
        pb.VariantAllocation(variant=name, allocation_percent=percent)
        for name, percent in (("a", 80), ("b", 20))
    ]
    service.experiments.UpdateExperiment(
        pb.UpdateExperimentRequest(experiment_key="colour", allocation=allocation)
    )
    fold_all(service)
    assign_all(service, NAMES)
    assert Counter({each: sum(split) for each, split in check(service).split.items()}) == {1: 20, 2: 40}


def test_the_service_folds_by_itself(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    assign_all(service, NAMES)
    deadline = time.monotonic() + 20
    while Folder(service.engine).waiting():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    check(service)


def test_what_is_there_before_the_migration_is_folded_after_it(
    service: Service, experiments_database: str, clock: Clock
) -> None:
    create(service, what=definition(metrics=[SIGNUP, REVENUE], tracks_exposures=True))
    start(service)
    tracker = Tracker(service, 3, clock.micros)
    for _ in range(30):
        tracker.act()
    before = check(service)
    service.application.stop()
    with service.engine.begin() as connection:
        config = Config(attributes={"connection": connection, "schema": "experiments"})
        config.set_main_option("script_location", "services.experiments:migrations")
        alembic.command.downgrade(config, "0001")
    migrations.upgrade(experiments_database, "experiments", "services.experiments")
    assert check(service) == before
    fold_all(service)
    assert check(service) == before


def test_an_older_snapshot_sees_the_people_it_saw(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    assign(service, "ann")
    fold_all(service)
    columns, experiment = ParticipantColumns(), of(service)
    with snapshot(service) as old:
        assert len(columns.current(old, experiment).user_keys) == 1
        assign(service, "bob")
        check(service, columns)  # what is held is newer now
        assert len(columns.current(old, experiment).user_keys) == 1
        check(service, columns)
        fold_all(service)
        check(service, columns)
        assert len(columns.current(old, experiment).user_keys) == 1
