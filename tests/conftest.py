"""Fixtures of every test: a real PostgreSQL, databases cloned from migrated templates, token keys."""

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis.configuration import set_hypothesis_home_dir

import deploy.postgres
from deploy.postgres import EmbeddedPostgres
from shared import auth
from tests import databases

# The other tools' caches lie there too (pyproject.toml): nothing is written outside .venv and .brain.
set_hypothesis_home_dir(Path(__file__).parents[1] / ".venv" / ".cache" / "hypothesis")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fault-seconds",
        type=float,
        help="how long a fault of tests/faults lasts at most; as long as docs/operating.md says unless given",
    )


@pytest.fixture(scope="session")
def scratch_directory() -> Iterator[Path]:
    """A directory for this run alone, inside the checkout."""
    directory = Path(__file__).parents[1] / ".brain" / "tests" / str(os.getpid())
    directory.mkdir(parents=True)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres(scratch_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server whose contents are thrown away."""
    server = deploy.postgres.start(scratch_directory / "postgres", durable=False)
    yield server
    server.close()


@pytest.fixture(scope="session")
def template_database(postgres: EmbeddedPostgres) -> Callable[[str, str], str]:
    """(package, schema) -> name of a database with that service's migrations, made once a run."""
    return functools.cache(functools.partial(databases.make_template, postgres))


@pytest.fixture(scope="session")
def events_template(template_database: Callable[[str, str], str]) -> str:
    return template_database("services.events", "events")


@pytest.fixture
def events_database(postgres: EmbeddedPostgres, events_template: str) -> Iterator[str]:
    """The URL of a migrated database of the events service, for the role `events`."""
    with databases.clone(postgres, events_template) as name:
        yield postgres.url(name, "events")


@pytest.fixture(scope="session")
def experiments_template(template_database: Callable[[str, str], str]) -> str:
    return template_database("services.experiments", "experiments")


@pytest.fixture
def experiments_database(postgres: EmbeddedPostgres, experiments_template: str) -> Iterator[str]:
    """The URL of a migrated database of the experiments service, for the role `experiments`."""
    with databases.clone(postgres, experiments_template) as name:
        yield postgres.url(name, "experiments")


@pytest.fixture(scope="session")
def funnels_template(template_database: Callable[[str, str], str]) -> str:
    return template_database("services.funnels", "funnels")


@pytest.fixture
def funnels_database(postgres: EmbeddedPostgres, funnels_template: str) -> Iterator[str]:
    """The URL of a migrated database of the funnels service, for the role `funnels`."""
    with databases.clone(postgres, funnels_template) as name:
        yield postgres.url(name, "funnels")


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, for its superuser."""
    with databases.clone(postgres, "template1") as name:
        yield postgres.url(name)


@pytest.fixture(scope="session")
def token_keys() -> tuple[bytes, bytes]:
    """An Ed25519 pair in PEM: (private, public)."""
    return auth.generate_keys()


@pytest.fixture(scope="session")
def forecasting_template(template_database: Callable[[str, str], str]) -> str:
    return template_database("services.forecasting", "forecasting")


@pytest.fixture
def forecasting_database(postgres: EmbeddedPostgres, forecasting_template: str) -> Iterator[str]:
    """The URL of a migrated database of the forecasting service, for the role `forecasting`."""
    with databases.clone(postgres, forecasting_template) as name:
        yield postgres.url(name, "forecasting")


@pytest.fixture(scope="session")
def alerts_template(template_database: Callable[[str, str], str]) -> str:
    return template_database("services.alerts", "alerts")


@pytest.fixture
def alerts_database(postgres: EmbeddedPostgres, alerts_template: str) -> Iterator[str]:
    """The URL of a migrated database of the alerts service, for the role `alerts`."""
    with databases.clone(postgres, alerts_template) as name:
        yield postgres.url(name, "alerts")
