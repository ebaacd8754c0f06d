"""Chores: each on its own, through outages, until stopped."""

import logging
import threading
from time import monotonic

import psycopg
import pytest
import sqlalchemy
from prometheus_client import CollectorRegistry

from deploy.postgres import EmbeddedPostgres
from shared import chores
from shared.chores import Chore, Housekeeper
from shared.database import create_engine, database_url
from shared.errors import Unavailable
from tests.waiting import DEADLINE, until


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed chores are tried again without the wait of a second."""
    monkeypatch.setattr(chores, "RETRY_SECONDS", 0.001)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == chores.__name__]


@pytest.mark.usefixtures("quick")
def test_a_failing_chore_is_logged_once_and_goes_on_when_it_can(
    postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    engine = sqlalchemy.create_engine(database_url(postgres.url("postgres")))
    away = create_engine(
        "postgresql://nobody@127.0.0.1:1/nothing", schema="x", pool_size=1, application_name="test"
    )
    runs: list[str] = []

    def run() -> float:
        # An outage of three runs, twice; each then works for two.
        runs.append("failed" if len(runs) % 5 < 3 else "worked")
        with (away if runs[-1] == "failed" else engine).connect() as connection:
            connection.execute(sqlalchemy.text("SELECT 1"))
        return 0.001 if len(runs) < 10 else 3600.0

    caplog.set_level(logging.INFO)
    keeper = Housekeeper([Chore("trying", run)], CollectorRegistry())
    until(lambda: len(runs) == 10)
    keeper.stop()
    engine.dispose()
    assert messages(caplog) == ["chore fails", "chore works again"] * 2
    assert {
        getattr(record, "chore", None) for record in caplog.records if record.name == chores.__name__
    } == {"trying"}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "error",
    [
        psycopg.OperationalError("gone"),
        sqlalchemy.exc.TimeoutError("busy"),
        Unavailable("away", "DATABASE_UNAVAILABLE"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_every_kind_of_database_trouble_is_outlived(error: Exception) -> None:
    runs: list[int] = []

    def run() -> float:
        runs.append(1)
        if len(runs) < 3:
            raise error
        return 3600.0

    keeper = Housekeeper([Chore("trying", run)], CollectorRegistry())
    until(lambda: len(runs) == 3)
    keeper.stop()


def test_one_chore_s_trouble_is_not_another_s() -> None:
    worked = threading.Event()

    def fail() -> float:
        raise psycopg.OperationalError("gone")

    def work() -> float:
        worked.set()
        return 3600.0

    registry = CollectorRegistry()
    keeper = Housekeeper([Chore("failing", fail), Chore("working", work)], registry)
    begun = success_time(registry, "failing")
    assert worked.wait(DEADLINE)
    until(lambda: success_time(registry, "working") > begun)
    keeper.stop()
    assert success_time(registry, "failing") == begun


def success_time(registry: CollectorRegistry, chore: str) -> float:
    seconds = registry.get_sample_value("chore_success_timestamp_seconds", {"chore": chore})
    assert seconds is not None
    return seconds


def test_stopping_does_not_wait_for_the_next_time() -> None:
    began, ran = monotonic(), threading.Event()

    def run() -> float:
        ran.set()
        return 3600.0

    keeper = Housekeeper([Chore("resting", run)], CollectorRegistry())
    assert ran.wait(DEADLINE)
    keeper.stop()
    assert monotonic() - began < DEADLINE
    assert not any(thread.name == "chore-resting" for thread in threading.enumerate())
