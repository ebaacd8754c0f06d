"""Writers and compactors stopped between any two of their statements, while others do something.

One thread, so that every run is the same: a cursor that acts before the statement it is told to.
"""

from collections.abc import Iterator
from contextlib import suppress
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlalchemy
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from psycopg import sql

from deploy.postgres import EmbeddedPostgres
from services.events.event_types import EventTypes
from services.events.ingest import writer as writing
from services.events.ingest.incoming import read
from services.events.ingest.partitions import Partitions
from services.events.ingest.writer import Outcome, Writer
from services.events.rollups import compaction
from services.events.rollups.compaction import compact
from services.events.rollups.cover import ReportingCalendar
from services.events.users import UserDictionary
from shared.database import create_engine
from shared.encryption import BlindIndex, Keyring
from tests import databases
from tests.clock import Clock
from tests.services.events.conftest import KEY
from tests.services.events.interruptions import (
    FEW_BYTES,
    MANY_BYTES,
    ZONE,
    Action,
    CutOffError,
    Interruption,
    Interruptions,
    Parts,
    cut_off,
)
from tests.services.events.made_events import POISON, made_event
from tests.services.events.recount import recount

FOLD_STATEMENTS = 6  # lock, take, read and write hours, read and write days
WRITE_STATEMENTS = 3  # look, copy, delta


@pytest.fixture(scope="module")
def database(postgres: EmbeddedPostgres, events_template: str) -> Iterator[str]:
    with databases.clone(postgres, events_template) as name:
        # Who waits for somebody of the same thread would wait for ever.
        with postgres.connect() as connection:
            limit = "ALTER ROLE events IN DATABASE {} SET lock_timeout = '2s'"
            connection.execute(sql.SQL(limit).format(sql.Identifier(name)))
        yield postgres.url(name, "events")


@pytest.fixture(scope="module")
def engine(database: str) -> Iterator[sqlalchemy.Engine]:
    engine = create_engine(database, schema="events", pool_size=4, application_name="test")
    yield engine
    engine.dispose()


@pytest.fixture
def parts(database: str, engine: sqlalchemy.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Parts]:
    interruptions = Interruptions(engine)
    monkeypatch.setattr(compaction, "driver_cursor", interruptions.cursor)
    monkeypatch.setattr(writing, "driver_cursor", interruptions.cursor)
    calendar = ReportingCalendar(ZoneInfo(ZONE))

    def replica() -> Writer:
        users = UserDictionary(engine, Keyring.parse(f"1:{KEY}"), BlindIndex.parse(KEY), 1_000)
        return Writer(engine, users, EventTypes(engine, 10_000), Partitions(engine), calendar, Clock())

    with psycopg.connect(database, autocommit=True) as connection:
        parts = Parts(engine, connection, replica(), replica(), interruptions)
        parts.empty()
        yield parts


@pytest.mark.parametrize("statement", range(FOLD_STATEMENTS + 1))
@pytest.mark.parametrize("action", ["fold", "write", "check", "fold, then break"])
def test_a_fold_may_be_interrupted_anywhere(parts: Parts, statement: int, action: str) -> None:
    """The interrupted fold takes a part of the deltas, whoever comes between may take another part."""
    parts.write(list(range(30)))
    assert compact(parts.engine) == 1
    for first in (20, 40, 60):
        parts.write(list(range(first, first + 30)))

    def happens() -> None:
        if "fold" in action:
            compact(parts.engine, FEW_BYTES)
        elif action == "write":
            assert parts.write(list(range(80, 120))).duplicates == 10
        parts.check()
        if "break" in action:
            cut_off()

    if "break" in action:
        with pytest.raises(CutOffError):
            parts.fold_interrupted(Interruption(statement, happens))
    else:
        parts.fold_interrupted(Interruption(statement, happens))
    parts.check()
    while compact(parts.engine):
        parts.check()
    assert parts.check() == (120 if action == "write" else 90)


@pytest.mark.parametrize("statement", range(WRITE_STATEMENTS + 1))
@pytest.mark.parametrize("breaks", [False, True])
def test_a_write_may_be_interrupted_anywhere(parts: Parts, statement: int, *, breaks: bool) -> None:
    parts.write(list(range(30)))

    def happens() -> None:
        parts.write(list(range(40, 80)))
        compact(parts.engine)
        parts.check()
        if breaks:
            cut_off()

    if breaks:
        with pytest.raises(CutOffError):
            parts.write_interrupted(list(range(20, 40)), Interruption(statement, happens))
    else:
        parts.write_interrupted(list(range(20, 40)), Interruption(statement, happens))
    assert parts.check() == (70 if breaks else 80)
    assert compact(parts.engine) == (0 if breaks else 1)
    assert parts.check() == (70 if breaks else 80)


def test_events_that_another_stores_between_look_and_copy_are_duplicates(parts: Parts) -> None:
    def happens() -> None:
        assert parts.write(list(range(10, 30))).accepted == 20

    outcome = parts.write_interrupted(list(range(20)), Interruption(1, happens))

    assert (outcome.accepted, outcome.duplicates) == (10, 10)
    assert parts.check() == 30


def test_an_event_that_the_database_refuses_leaves_no_trace_in_the_roll_ups(parts: Parts) -> None:
    batch, rejected = read([made_event(1), POISON, made_event(2), made_event(1)], Clock.micros)
    assert not rejected
    [outcome] = parts.writer.write([batch])
    assert isinstance(outcome, Outcome)
    assert (outcome.accepted, outcome.duplicates, [each.index for each in outcome.rejected]) == (2, 1, [1])
    assert parts.check() == 2


def test_the_checker_sees_a_lost_delta_a_double_and_a_wrong_set(parts: Parts) -> None:
    for damage in (
        "DELETE FROM event_deltas",
        "INSERT INTO event_deltas (first_hour, last_hour, payload) SELECT 0, 0, payload FROM event_deltas",
        "UPDATE events SET value = value + 1 WHERE value > 0",
        "UPDATE events SET event_id = gen_random_uuid()",
        "UPDATE events SET user_key = 1000000 WHERE user_key = (SELECT min(user_key) FROM events)",
    ):
        parts.empty()
        parts.write(list(range(30)))
        parts.check()
        parts.connection.execute(damage.encode())
        assert recount(parts.connection, ZONE).mismatches, damage
    for damage in (
        "UPDATE event_hours SET revision = revision + 1",
        "UPDATE event_days SET value_sum = value_sum + 1 WHERE event_key = 0",
        "UPDATE event_days SET people = people + 1 WHERE event_key > 0",
        "DELETE FROM event_hours WHERE event_key > 0",
    ):
        parts.empty()
        parts.write(list(range(30)))
        compact(parts.engine)
        parts.check()
        parts.connection.execute(damage.encode())
        assert recount(parts.connection, ZONE).mismatches, damage


# Some that come again and again, and always new ones.
NUMBERS = st.lists(st.integers(0, 30) | st.integers(0, 100_000), min_size=1, max_size=12)
SIZES = st.sampled_from([FEW_BYTES, MANY_BYTES])
ACTIONS = st.sampled_from(["write", "fold", "break"])


class Interleavings(RuleBasedStateMachine):
    """Any order of writes, folds, breaks and what comes between their statements."""

    def __init__(self, parts: Parts) -> None:
        super().__init__()
        self.parts = parts
        self.stored: set[int] = set()
        parts.empty()

    @rule(numbers=NUMBERS)
    def write(self, numbers: list[int]) -> None:
        outcome = self.parts.write(numbers)
        new = set(numbers) - self.stored
        assert (outcome.accepted, outcome.duplicates) == (len(new), len(numbers) - len(new))
        self.stored |= new

    @rule(size=SIZES)
    def fold(self, size: int) -> None:
        compact(self.parts.engine, size)

    @rule(numbers=NUMBERS, other=NUMBERS, statement=st.integers(0, WRITE_STATEMENTS), action=ACTIONS)
    def write_interrupted(self, numbers: list[int], other: list[int], statement: int, action: str) -> None:
        # An event that both store would make the one wait for the other.
        own = sorted(set(numbers) - set(other)) or [100_001]
        interruption = Interruption(statement, self._action(action, other))
        with suppress(CutOffError):
            self.parts.write_interrupted(own, interruption)
        if action != "break" or not interruption.happened:
            self.stored.update(own)

    @rule(size=SIZES, other=NUMBERS, statement=st.integers(0, FOLD_STATEMENTS), action=ACTIONS)
    def fold_interrupted(self, size: int, other: list[int], statement: int, action: str) -> None:
        with suppress(CutOffError):
            self.parts.fold_interrupted(Interruption(statement, self._action(action, other)), size)

    def _action(self, name: str, numbers: list[int]) -> Action:
        return {"write": lambda: self.write(numbers), "fold": lambda: self.fold(FEW_BYTES), "break": cut_off}[
            name
        ]

    @invariant()
    def nothing_is_lost_and_nothing_counted_twice(self) -> None:
        assert self.parts.check() == len(self.stored)


def test_no_interleaving_makes_roll_ups_differ_from_raw_events(parts: Parts) -> None:
    run_state_machine_as_test(
        lambda: Interleavings(parts),  # type: ignore[arg-type]  # any callable that makes one
        settings=settings(
            max_examples=30,
            stateful_step_count=20,
            deadline=None,  # waits for a database
            phases=[Phase.generate],  # shrinking a failure that holds locks takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
