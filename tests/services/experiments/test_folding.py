"""Sums that are kept up to date, against plain Python over all that is stored, in the same snapshot."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import alembic.command
import pytest
from alembic.config import Config
from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.lifecycle import store as experiments
from services.experiments.results import store
from services.experiments.results.course import read_course
from services.experiments.results.folded import waiting_people
from services.experiments.results.folding import Folder
from services.experiments.results.participants import ParticipantColumns, Participants
from shared import migrations
from shared.calendar import to_datetime_utc
from tests.clock import Clock
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
from tests.services.experiments.conftest import Service
from tests.services.experiments.recounting import (
    HOUR,
    METRICS,
    NAMES,
    Tracker,
    check,
    check_until,
    counted,
    fold_all,
    of,
    snapshot,
)


@pytest.mark.parametrize("window_hours", [None, 6])
def test_a_course_is_what_had_happened_by_each_moment(
    window_hours: int | None, service: Service, clock: Clock
) -> None:
    more = {} if window_hours is None else {"conversion_window_seconds": window_hours * 3_600}
    create(service, what=definition(metrics=[SIGNUP, REVENUE], tracks_exposures=True, **more))
    start(service)
    tracker = Tracker(service, 7, clock.micros)
    assign_all(service, NAMES)
    for _ in range(200):
        tracker.act()
    ends = [clock.micros + hours * HOUR for hours in (0, 1, 5, 6, 12, 23, 40)]
    with snapshot(service) as connection:
        experiment = experiments.read(connection, "colour").experiment
        expected = [counted(connection, experiment, to_datetime_utc(end)) for end in ends]
        assert read_course(connection, experiment, METRICS, ends) == expected
    assert len({str(each.sums) for each in expected}) > 4


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


def test_participants_are_the_same_object_until_they_differ(service: Service) -> None:
    create(service, what=definition(metrics=[SIGNUP]))
    start(service)
    assign_all(service, ["ann", "bob"])
    columns, experiment = ParticipantColumns(), of(service)

    def current() -> Participants:
        with snapshot(service) as connection:
            return columns.current(connection, experiment)

    before = current()
    fold_all(service)
    assert current() is before
    assign(service, "cyd")
    assert len(current().user_keys) == 3
    before = current()
    override = pb.SetOverrideRequest(experiment_key="colour", person=person("bob"), variant="b")
    service.experiments.SetOverride(override)
    assert len(current().user_keys) == 2
    service.experiments.SetOverride(pb.SetOverrideRequest(experiment_key="colour", person=person("bob")))
    fold_all(service)
    assert current().equals(before)
