"""Fixtures of every test: a real PostgreSQL, databases cloned from migrated templates, token keys."""

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

import deploy.postgres
from deploy.postgres import EmbeddedPostgres
from shared import auth
from tests import databases

# The other tools' caches lie there too (pyproject.toml): nothing is written outside .venv and .brain.
set_hypothesis_home_dir(Path(__file__).parents[1] / ".venv" / ".cache" / "hypothesis")

# How long an example takes says more about the machine than about the code.
settings.register_profile(
    "suite", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


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
def template_database(postgres: EmbeddedPostgres) -> Callable[[str], str]:
    """Service -> name of a database with its migrations, made once a run."""
    return functools.cache(functools.partial(databases.make_template, postgres))


def _database_of(service: str) -> Callable[..., Iterator[str]]:
    @pytest.fixture
    def database(postgres: EmbeddedPostgres, template_database: Callable[[str], str]) -> Iterator[str]:
        """The URL of a migrated database of that service, for its role."""
        with databases.clone(postgres, template_database(service)) as name:
            yield postgres.url(name, service)

    return database


alerts_database = _database_of("alerts")
events_database = _database_of("events")
experiments_database = _database_of("experiments")
forecasting_database = _database_of("forecasting")
funnels_database = _database_of("funnels")


@pytest.fixture(scope="session")
def events_template(template_database: Callable[[str], str]) -> str:
    """For databases that live longer than a test."""
    return template_database("events")


@pytest.fixture
def empty_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of an empty database, for its superuser."""
    with databases.clone(postgres, "template1") as name:
        yield postgres.url(name)


@pytest.fixture(scope="session")
def token_keys() -> tuple[bytes, bytes]:
    """An Ed25519 pair in PEM: (private, public)."""
    return auth.generate_keys()


@pytest.fixture
def public_key_file(token_keys: tuple[bytes, bytes], tmp_path: Path) -> Path:
    """What verifies tokens that are signed with the private key."""
    path = tmp_path / "public.pem"
    path.write_bytes(token_keys[1])
    return path
