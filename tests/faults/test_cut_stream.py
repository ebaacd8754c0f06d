"""Row 2: the server is killed in the middle of a client's stream, which goes on behind the last answer."""

from collections.abc import Callable, Iterator
from random import Random
from time import sleep

import grpc
import pytest
from brain.events.v1.events_pb2 import TrackEventStreamRequest
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from tests.faults.checker import Verdict
from tests.faults.conftest import Database
from tests.faults.ledger import Answer, Ledger, Outcome
from tests.faults.made_events import events, new_ids
from tests.faults.servers import SERVING, Server

pytestmark = pytest.mark.faults

EVENTS = 10_000
CHUNK = 100
KILLS = 5


class Stream:
    """A set of events on its way, chunk by chunk; `acknowledged` chunks need not be sent again."""

    def __init__(self, ledger: Ledger, ids: list[str]) -> None:
        self._ledger = ledger
        self._chunks = [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
        self._operations: list[int] = []
        self.acknowledged = 0

    def is_done(self) -> bool:
        return self.acknowledged == len(self._chunks)

    def send(self, server: Server, on_acknowledged: Callable[[int], None]) -> grpc.StatusCode | None:
        """Send what is left; return how the stream ended before its time, if it did."""
        self._operations = []
        with server.plain_channel() as channel:
            stub = EventsServiceStub(channel)
            try:
                for reply in stub.TrackEventStream(self._requests(), wait_for_ready=True, timeout=60):
                    answer = Answer(Outcome.OK, reply.accepted, reply.duplicates)
                    self._ledger.answered(self._operations[reply.sequence], answer)
                    self.acknowledged += 1
                    on_acknowledged(self.acknowledged)
            except grpc.RpcError as error:
                return error.code()
        return None

    def _requests(self) -> Iterator[TrackEventStreamRequest]:
        for ids in self._chunks[self.acknowledged :]:
            self._operations.append(self._ledger.sending(ids))
            yield TrackEventStreamRequest(events=events(ids))


def test_a_stream_goes_on_behind_its_last_acknowledgement(
    database: Database,
    start: Callable[..., Server],
    ledger: Ledger,
    judge: Callable[[], Verdict],
    tell: Callable[..., None],
) -> None:
    server = start("events", database.url("events"))
    stream = Stream(ledger, new_ids(EVENTS))
    random = Random(2)
    at = sorted(random.sample(range(5, EVENTS // CHUNK - 5), KILLS))
    ends: list[grpc.StatusCode | None] = []

    def kill_in_time(acknowledged: int) -> None:
        if len(ends) < KILLS and acknowledged == at[len(ends)]:
            sleep(random.uniform(0, 0.03))  # anywhere in the work on the chunks that follow
            server.kill()

    while not stream.is_done():
        ends.append(stream.send(server, kill_in_time))
        if not server.is_running():
            server.start()
            server.wait_until(SERVING)
    verdict = judge()
    tell(kills=KILLS, stored=verdict.stored, sent_again=verdict.duplicates)
    assert not verdict.problems
    assert ends == [grpc.StatusCode.UNAVAILABLE] * KILLS + [None]
    assert verdict.stored == verdict.acknowledged == verdict.sent == EVENTS
