"""Row 1: the events server is killed every 1 to 3 s; its clients see nothing but a longer wait."""

from collections.abc import Callable
from random import Random
from time import monotonic, sleep

import pytest

from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Ledger
from tests.faults.load import Load
from tests.faults.servers import SERVING, Server

pytestmark = pytest.mark.faults

SECONDS = 60.0


def test_kills_lose_nothing_and_fail_no_call(
    database: Database,
    start: Callable[..., Server],
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    server = start("events", database.url("events"))
    random = Random(1)
    kills = 0
    with Load(ledger, lambda _client: server.channel()) as load:
        end = monotonic() + lasting(SECONDS)
        while monotonic() < end:
            sleep(random.uniform(1, 3))
            server.wait_until(SERVING)  # a machine that is slow to start it would test nothing
            server.kill()
            server.start()
            kills += 1
        server.wait_until(SERVING)
    verdict = judge()
    tell(kills=kills, **load.tally.figures(), duplicates=verdict.duplicates)
    assert not verdict.problems
    assert not load.tally.failed_calls
    assert verdict.unknown == 0
    assert verdict.acknowledged == verdict.stored == verdict.sent > 0
