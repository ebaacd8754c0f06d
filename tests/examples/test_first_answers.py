import io
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from brain.events.v1 import events_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from brain_client import Brain
from examples import first_answers
from tests.brain_client.memory_events import Running, Store, serve

JUNE = Timestamp(seconds=int(datetime(2011, 6, 1, tzinfo=UTC).timestamp()))


@pytest.fixture
def served() -> Iterator[Running]:
    running = serve(Store())
    running.servicer.answers = [
        pb.GetActiveUsersResponse(active_users=[pb.ActiveUsers(start_time=JUNE, users=1_051)]),
        pb.CountEventsResponse(
            counts=[pb.EventCount(start_time=JUNE, group='"85123A"', events=2_270, value_sum=691_123.12)]
        ),
    ]
    yield running
    running.kill()


def test_answers_are_printed_with_the_time_each_took(served: Running) -> None:
    console = Console(file=io.StringIO(), width=100)
    with Brain(served.address, "t") as brain:
        last = datetime(2011, 12, 9, 12, 50, tzinfo=UTC)
        first_answers.show(brain, console, datetime(2010, 12, 1, tzinfo=UTC), last)
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    for told in ("Wed 2011-06-01", "1,051", "2011-06", "691,123.12", "85123A", "2,270"):
        assert told in printed
    assert printed.count(" ms)") == 5
    days = served.servicer.requests[0]
    assert isinstance(days, pb.GetActiveUsersRequest)
    assert days.time_range.end_time.ToDatetime(UTC) == datetime(2011, 12, 10, tzinfo=UTC)
