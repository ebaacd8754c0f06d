"""Row 8: a replica stands still in the middle of its work for half a minute, then goes on where it was."""

from collections.abc import Callable
from time import monotonic, sleep

import pytest

from shared import clients
from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Ledger
from tests.faults.load import Load, Manner
from tests.faults.servers import SERVING, Server

pytestmark = pytest.mark.faults

SECONDS = 30.0
# What waits for a lock of the suspended one waits until the database takes it away.
LONGEST_OF_OTHERS = 15.0
# Clients of both find out in 17 s, and ask the other one.
LONGEST_OF_BOTH = 20.0


def test_others_serve_and_nothing_happens_twice(
    database: Database,
    start: Callable[..., Server],
    ledger: Ledger,
    lasting: Callable[[float], float],
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    suspended, other = (start("events", database.url("events")) for _ in range(2))
    both = f"{suspended.address},{other.address}"
    with Load(ledger, lambda _client: clients.channel(both, None)) as load:
        assert load.gets_through(500, 10)
        suspended.suspend()
        stopped = monotonic()
        with Load(ledger, lambda _client: other.plain_channel(), Manner(retry_seconds=0)) as of_others:
            sleep(lasting(SECONDS))
        suspended.resume()
        suspended.wait_until(SERVING, 10)
        seconds = monotonic() - stopped
        assert load.gets_through(500, 20)
    verdict = judge()
    tell(
        suspended=f"{seconds:.0f} s",
        **load.tally.figures(),
        duplicates=verdict.duplicates,
        of_the_other=of_others.tally.figures(),
    )
    assert not verdict.problems
    assert not load.tally.failed_calls
    assert verdict.unknown == 0
    assert load.tally.longest_seconds < LONGEST_OF_BOTH
    assert not of_others.tally.failed_calls
    assert of_others.tally.longest_seconds < LONGEST_OF_OTHERS
    assert of_others.tally.calls > 10 * seconds
