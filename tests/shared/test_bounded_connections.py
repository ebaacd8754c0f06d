"""No answer of the database is waited for longer than the caller waits, whatever the network does."""

from collections.abc import Callable, Iterator
from contextvars import Context
from pathlib import Path
from time import monotonic

import pytest
import sqlalchemy
from sqlalchemy import text

from shared import deadlines, migrations
from shared.bounded_connection import GRACE_SECONDS
from shared.database import create_engine, translate
from shared.errors import DeadlineExceeded, Unavailable
from tests.faults.proxy import HEALTHY, Fault, Proxy

LEFT_SECONDS = 0.3
OVER_SECONDS = 1.0


@pytest.fixture
def network(empty_database: str, tmp_path: Path) -> Iterator[Proxy]:
    migrations.upgrade(empty_database, "red", "tests.shared.throwaway_service")
    host = sqlalchemy.make_url(empty_database).query["host"]
    with Proxy(f"unix:{host}/.s.PGSQL.5432", listen=f"unix:{tmp_path}/.s.PGSQL.5432") as proxy:
        yield proxy


@pytest.fixture
def engine(empty_database: str, network: Proxy, tmp_path: Path) -> Iterator[sqlalchemy.Engine]:
    """One connection, through the network."""
    url = sqlalchemy.make_url(empty_database).update_query_dict({"host": str(tmp_path)})
    made = create_engine(
        url.set(drivername="postgresql").render_as_string(hide_password=False),
        schema="red",
        pool_size=1,
        application_name="a test",
    )
    yield made
    made.dispose()


def ask(engine: sqlalchemy.Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT 1")).scalar_one())


def failure(work: Callable[[], object]) -> object:
    """What work says that is done for a caller who soon waits no more; it must say it in time."""
    started = monotonic()
    context = Context()
    context.run(deadlines.set_remaining, LEFT_SECONDS)
    with pytest.raises(sqlalchemy.exc.SQLAlchemyError) as raised:
        context.run(work)
    assert monotonic() - started < LEFT_SECONDS + GRACE_SECONDS + OVER_SECONDS
    return translate(raised.value)


def test_an_answer_that_stays_away_is_not_waited_for(engine: sqlalchemy.Engine, network: Proxy) -> None:
    assert ask(engine) == 1
    network.fault = Fault(is_black_hole=True)
    assert isinstance(failure(lambda: ask(engine)), DeadlineExceeded)
    network.fault = HEALTHY
    assert ask(engine) == 1, "on another connection: the late answer is nobody's"


def test_a_connection_that_does_not_come_is_not_waited_for(engine: sqlalchemy.Engine, network: Proxy) -> None:
    network.fault = Fault(is_black_hole=True)
    assert isinstance(failure(lambda: ask(engine)), DeadlineExceeded)
    network.fault = HEALTHY
    assert ask(engine) == 1


def test_who_waits_for_little_gets_a_connection_that_comes_in_time(engine: sqlalchemy.Engine) -> None:
    context = Context()
    context.run(deadlines.set_remaining, LEFT_SECONDS)
    assert context.run(ask, engine) == 1


def test_a_connection_of_others_is_waited_for_no_longer(engine: sqlalchemy.Engine) -> None:
    with engine.connect():
        assert isinstance(failure(lambda: ask(engine)), Unavailable)
    assert ask(engine) == 1


def test_what_is_done_for_nobody_has_all_the_time(engine: sqlalchemy.Engine, network: Proxy) -> None:
    assert ask(engine) == 1
    network.fault = Fault(latency_seconds=GRACE_SECONDS * 0.6)  # there and back: longer than the grace
    assert ask(engine) == 1
