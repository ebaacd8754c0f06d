"""The shop's year in the real service: imported twice, once a run, and asked before and after folding."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy

from brain_client.upload import Settled, upload
from deploy.postgres import EmbeddedPostgres
from examples import online_retail
from services.events import housekeeping
from services.events.rollups.compaction import compact
from tests import databases
from tests.services.events.conftest import Clock, Service, running

# A week after the last line, so that every day and week of the data is over.
NOW = Clock(int(datetime(2011, 12, 16, 12, tzinfo=UTC).timestamp()) * 1_000_000)


@dataclass(frozen=True)
class Imported:
    """A database, and what became of the lines of each import: accepted, duplicates, rejected."""

    database: str
    outcomes: list[tuple[int, int, int]]


@dataclass(frozen=True)
class Starter:
    """Starts services that fold nothing by themselves."""

    postgres: EmbeddedPostgres
    private_key: bytes
    public_key_file: Path

    @contextmanager
    def service(self, database: str) -> Iterator[Service]:
        url = self.postgres.url(database, "events")
        with ExitStack() as stack:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(housekeeping, "compact", lambda _engine: 0)
                service = stack.enter_context(running(url, NOW, self.private_key, self.public_key_file))
                service.application.housekeeper.stop()
            yield service

    @contextmanager
    def copy(self, database: str) -> Iterator[Service]:
        with databases.clone(self.postgres, database) as name, self.service(name) as service:
            yield service


@pytest.fixture(scope="session")
def start_shop(
    postgres: EmbeddedPostgres, token_keys: tuple[bytes, bytes], scratch_directory: Path
) -> Starter:
    key_file = scratch_directory / "shop.pem"
    key_file.write_bytes(token_keys[1])
    return Starter(postgres, token_keys[0], key_file)


@pytest.fixture(scope="session")
def imported(start_shop: Starter, postgres: EmbeddedPostgres, events_template: str) -> Iterator[Imported]:
    """All lines, imported once, then again through a replica that knows nobody yet."""
    with databases.clone(postgres, events_template) as name:
        outcomes = []
        for _ in range(2):
            parts: list[Settled] = []
            with start_shop.service(name) as service:
                upload(service.events, online_retail.events(), parts.append)
            outcomes.append(
                (
                    sum(part.accepted for part in parts),
                    sum(part.duplicates for part in parts),
                    sum(part.rejected for part in parts),
                )
            )
        with postgres.connect(name) as connection:
            connection.execute("VACUUM ANALYZE")
        yield Imported(name, outcomes)


@pytest.fixture(scope="session")
def pending_shop(imported: Imported, start_shop: Starter) -> Iterator[Service]:
    """All roll-ups are still deltas."""
    with start_shop.copy(imported.database) as service:
        yield service


@pytest.fixture(scope="session")
def half_folded_shop(imported: Imported, start_shop: Starter) -> Iterator[Service]:
    """Most slots have a base and deltas."""
    with start_shop.copy(imported.database) as service:
        half = deltas(service.engine) // 2
        while deltas(service.engine) > half:
            assert compact(service.engine, 100_000)
        yield service


@pytest.fixture(scope="session")
def folded_shop(imported: Imported, start_shop: Starter) -> Iterator[Service]:
    """Nothing is left to fold."""
    with start_shop.copy(imported.database) as service:
        while compact(service.engine):
            pass
        yield service


def deltas(engine: sqlalchemy.Engine) -> int:
    with engine.begin() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM event_deltas").scalar_one())


@pytest.fixture(params=["pending", "half_folded", "folded"])
def shop(request: pytest.FixtureRequest) -> Service:
    """The same events, whatever has become of their deltas."""
    service = request.getfixturevalue(f"{request.param}_shop")
    assert isinstance(service, Service)
    return service
