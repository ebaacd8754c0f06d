"""The shop's year in the real service: imported twice, once a run, and asked before and after folding."""

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from brain.events.v1 import events_pb2 as pb

from deploy.postgres import EmbeddedPostgres
from examples import online_retail
from services.events import housekeeping
from services.events.reading.orders import refresh
from services.events.rollups.compaction import compact
from services.events.sessions.folding import fold
from tests import databases
from tests.clock import Clock
from tests.services.events.conftest import Service, running

LATER = 500_000  # an hour in 2027
BATCH, IN_FLIGHT = 4_000, 4
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
                patch.setattr(housekeeping, "fold", lambda _engine: 0)
                patch.setattr(housekeeping, "refresh", lambda _engine, _hour: 0)
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
    batches = list(serialized(BATCH))
    with databases.clone(postgres, events_template) as name:
        outcomes = []
        for _ in range(2):
            with start_shop.service(name) as service:
                replies = list(send(service, batches))
            outcomes.append(
                (
                    sum(reply.accepted for reply in replies),
                    sum(reply.duplicates for reply in replies),
                    sum(len(reply.rejections) for reply in replies),
                )
            )
        with postgres.connect(name) as connection:
            connection.execute("VACUUM ANALYZE")
        yield Imported(name, outcomes)


def serialized(size: int) -> Iterator[bytes]:
    """Yield the example's events in batches, as bytes, which are sent twice and made once."""
    events = (event for _, event in online_retail.events())
    while batch := list(islice(events, size)):
        yield pb.TrackEventsRequest(events=batch).SerializeToString()


def send(service: Service, batches: Iterable[bytes]) -> Iterator[pb.TrackEventsResponse]:
    """Yield the replies, several batches being on their way at a time."""
    calls: Any = service.channel
    track = calls.unary_unary(
        "/brain.events.v1.EventsService/TrackEvents", response_deserializer=pb.TrackEventsResponse.FromString
    )
    on_the_way: deque[Any] = deque()
    for batch in batches:
        on_the_way.append(track.future(batch))
        if len(on_the_way) == IN_FLIGHT:
            yield on_the_way.popleft().result()
    while on_the_way:
        yield on_the_way.popleft().result()


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
        while deltas(service.engine, "session_deltas") > half:
            assert fold(service.engine, 10_000)
        refresh(service.engine, LATER)
        yield service


@pytest.fixture(scope="session")
def folded_shop(imported: Imported, start_shop: Starter) -> Iterator[Service]:
    """Nothing is left to fold."""
    with start_shop.copy(imported.database) as service:
        while compact(service.engine) or fold(service.engine) or refresh(service.engine, LATER):
            pass
        yield service


def deltas(engine: sqlalchemy.Engine, table: str = "event_deltas") -> int:
    with engine.begin() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())


# Half folded is both; nothing folded at all is asked in the long suite.
@pytest.fixture(params=[pytest.param("pending", marks=pytest.mark.slow), "half_folded", "folded"])
def shop(request: pytest.FixtureRequest) -> Service:
    """The same events, whatever has become of their deltas."""
    service = request.getfixturevalue(f"{request.param}_shop")
    assert isinstance(service, Service)
    return service
