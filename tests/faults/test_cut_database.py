"""Row 6, one step further in: connections to the database are cut, behind a COMMIT and before its answer."""

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from time import monotonic, sleep

import pytest

from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.proxy import Proxy
from tests.faults.servers import Server

pytestmark = pytest.mark.faults

SECONDS = 30.0


@pytest.fixture
def network(database: Database, tmp_path: Path) -> Iterator[Proxy]:
    with Proxy(database.socket_address, listen=f"unix:{tmp_path / '.s.PGSQL.5432'}") as proxy:
        yield proxy


@pytest.fixture
def server(database: Database, network: Proxy, tmp_path: Path, start: Callable[..., Server]) -> Server:
    """A replica behind that network."""
    return start("events", database.url_through("events", tmp_path))


def test_nothing_is_stored_twice_whose_commit_was_not_confirmed(
    network: Proxy,
    server: Server,
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    random = Random(6)
    cut = 0
    with Load(ledger, lambda _client: server.channel()) as load:
        end = monotonic() + lasting(SECONDS)
        while monotonic() < end:
            sleep(random.uniform(0.5, 1.5))
            cut += network.reset()
    verdict = judge()
    tell(connections_cut=cut, **load.tally.figures(), duplicates=verdict.duplicates)
    assert not verdict.problems
    assert not load.tally.failed_calls
    assert verdict.stored == verdict.sent == verdict.accepted + verdict.duplicates
    assert cut >= lasting(SECONDS)
    assert verdict.stored > 0
