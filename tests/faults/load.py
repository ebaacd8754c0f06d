"""Clients that send batches of events until told to stop, and note everything in a ledger."""

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from types import TracebackType
from typing import Self

import grpc
from brain.events.v1.events_pb2 import TrackEventsRequest, TrackEventsResponse
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from brain_client.errors import as_call
from brain_client.retries import call_with_retries
from tests.faults.ledger import Answer, Ledger, Outcome
from tests.faults.made_events import events, new_ids
from tests.faults.servers import within

# These alone say that nothing was done; any other failure may have come after the work.
REFUSALS = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
SHIPPED_RETRY_SECONDS = 300.0  # of brain_client.Delivery


@dataclass(frozen=True)
class Manner:
    """How clients send. Without `retry_seconds` a failure is final."""

    clients: int = 8
    batch: int = 10
    retry_seconds: float = SHIPPED_RETRY_SECONDS
    call_seconds: float = 30.0
    pause_seconds: float = 0.05  # between calls of a client


@dataclass
class Tally:
    """What the clients have seen so far."""

    calls: int = 0  # each until its last attempt
    attempts: int = 0  # of the client; the channel may have made more of each
    acknowledged: int = 0  # events
    longest_seconds: float = 0.0
    failures: Counter[grpc.StatusCode] = field(default_factory=Counter)  # of attempts
    failed_calls: Counter[grpc.StatusCode] = field(default_factory=Counter)

    def figures(self) -> dict[str, object]:
        """Return what a person wants to know of it."""
        return {
            "calls": self.calls,
            "retries": self.attempts - self.calls,
            "failed": {code.name: count for code, count in self.failed_calls.items()},
            "events": self.acknowledged,
            "longest_call": f"{self.longest_seconds:.1f} s",
        }


class Load:
    """Runs while it is entered; leaving it waits for the calls under way.

    `connect(client)` opens the channel of a client by its number: `shared.clients.channel` retries on its own
    account, a plain one does not.
    """

    def __init__(
        self, ledger: Ledger, connect: Callable[[int], grpc.Channel], manner: Manner | None = None
    ) -> None:
        self.tally = Tally()
        self._ledger = ledger
        self._connect = connect
        self._manner = manner or Manner()
        self._lock = Lock()
        self._stopping = Event()
        self._pool = ThreadPoolExecutor(self._manner.clients, "load")
        self._clients: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._clients = [self._pool.submit(self._run, number) for number in range(self._manner.clients)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._pool.shutdown()
        for client in self._clients:
            client.result()

    def _run(self, number: int) -> None:
        with self._connect(number) as channel:
            stub = EventsServiceStub(channel)
            while not self._stopping.is_set():
                self.send(stub, new_ids(self._manner.batch))
                self._stopping.wait(self._manner.pause_seconds)

    def gets_through(self, events: int, seconds: float) -> bool:
        """Wait until so many more events are acknowledged; tell whether they were in time."""
        before = self.tally.acknowledged
        return within(seconds, lambda: self.tally.acknowledged >= before + events)

    def send(self, stub: EventsServiceStub, ids: list[str]) -> Answer:
        """Send the events of some ids as one operation; return what the ledger says of it."""
        operation = self._ledger.sending(ids)
        started = time.monotonic()
        try:
            reply = self._track(stub, TrackEventsRequest(events=events(ids)))
            answer = Answer(Outcome.OK, reply.accepted, reply.duplicates)
        except grpc.RpcError as error:
            code = _code(error)
            answer = Answer(Outcome.FAILED if code in REFUSALS else Outcome.UNKNOWN, code=code.name)
        self._ledger.answered(operation, answer)
        self._count(answer, time.monotonic() - started)
        return answer

    def _track(self, stub: EventsServiceStub, request: TrackEventsRequest) -> TrackEventsResponse:
        def once(timeout: float) -> TrackEventsResponse:
            with self._lock:
                self.tally.attempts += 1
            try:
                return stub.TrackEvents(request, timeout=min(timeout, self._manner.call_seconds))
            except grpc.RpcError as error:
                with self._lock:
                    self.tally.failures[_code(error)] += 1
                raise

        if not self._manner.retry_seconds:
            return once(self._manner.call_seconds)
        return call_with_retries(once, self._manner.retry_seconds, _pause)

    def _count(self, answer: Answer, seconds: float) -> None:
        with self._lock:
            self.tally.calls += 1
            self.tally.acknowledged += answer.accepted + answer.duplicates
            self.tally.longest_seconds = max(self.tally.longest_seconds, seconds)
            if answer.code:
                self.tally.failed_calls[grpc.StatusCode[answer.code]] += 1


def _code(error: grpc.RpcError) -> grpc.StatusCode:
    call = as_call(error)
    return grpc.StatusCode.UNKNOWN if call is None else call.code()


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return True
