"""Sends many numbered events as fast as the server takes them, and tells what became of each line."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import grpc
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from brain_client.records import BadLine
from brain_client.retries import call_with_retries, may_pass

NumberedEvent = tuple[int, Event | BadLine]

BATCH_EVENTS = 2_500  # the server takes 5,000
BATCH_BYTES = 2_000_000  # the server takes 4 MiB
IN_FLIGHT = 4
RETRY_SECONDS = 120.0
_CALL_SECONDS = 30.0


@dataclass(frozen=True)
class Settled:
    """What became of consecutive lines. Adds up: line after line, in the order of the file."""

    last_line: int = 0
    accepted: int = 0
    duplicates: int = 0
    bad_lines: tuple[BadLine, ...] = ()  # every bad field of each

    @property
    def rejected(self) -> int:
        """Lines that are not stored."""
        return len({bad.line for bad in self.bad_lines})


@dataclass
class _Batch:
    events: list[Event] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)  # of the events
    bad_lines: list[BadLine] = field(default_factory=list)
    last_line: int = 0
    size: int = 0

    def add(self, line: int, event: Event | BadLine) -> None:
        self.last_line = line
        if isinstance(event, BadLine):
            self.bad_lines.append(event)
        elif (size := event.ByteSize()) > BATCH_BYTES // 2:
            self.bad_lines.append(BadLine(line, "", f"the event is too large: {size:,} bytes"))
        else:
            self.events.append(event)
            self.lines.append(line)
            self.size += size

    @property
    def full(self) -> bool:
        counted = max(len(self.events), len(self.bad_lines))
        return counted >= BATCH_EVENTS or self.size >= BATCH_BYTES

    def settled(self, reply: TrackEventsResponse) -> Settled:
        refused = [BadLine(self.lines[bad.index], bad.field, bad.reason) for bad in reply.rejections]
        bad_lines = tuple(sorted([*self.bad_lines, *refused], key=lambda bad: bad.line))
        return Settled(self.last_line, reply.accepted, reply.duplicates, bad_lines)


def upload(
    stub: EventsServiceStub,
    events: Iterable[NumberedEvent],
    on_settled: Callable[[Settled], None],
    *,
    retry_seconds: float = RETRY_SECONDS,
) -> None:
    """Store the events of the lines, several batches in flight, and report batch by batch in their order.

    What may pass is retried for `retry_seconds`; then, or at once where it may not, grpc.RpcError is raised.
    What was reported is stored; sending the rest again, or all, stores nothing twice.
    """
    in_flight: deque[tuple[_Batch, _Call]] = deque()
    try:
        for batch in _batches(events):
            in_flight.append((batch, _Call(stub, batch.events)))
            if len(in_flight) >= IN_FLIGHT:
                _settle_first(in_flight, on_settled, retry_seconds)
        while in_flight:
            _settle_first(in_flight, on_settled, retry_seconds)
    finally:
        for _, call in in_flight:
            call.cancel()


class _Call:
    """A batch on its way."""

    def __init__(self, stub: EventsServiceStub, events: list[Event]) -> None:
        self._stub = stub
        self._request = TrackEventsRequest(events=events)
        self._future = stub.TrackEvents.future(self._request, timeout=_CALL_SECONDS) if events else None

    def reply(self, retry_seconds: float) -> TrackEventsResponse:
        if self._future is None:
            return TrackEventsResponse()
        try:
            return self._future.result()
        except grpc.RpcError as error:
            if not may_pass(error):
                raise
            return call_with_retries(self._again, retry_seconds, _sleep)

    def cancel(self) -> None:
        if self._future is not None:
            self._future.cancel()

    def _again(self, timeout: float) -> TrackEventsResponse:
        return self._stub.TrackEvents(self._request, timeout=timeout)


def _settle_first(
    in_flight: deque[tuple[_Batch, _Call]], on_settled: Callable[[Settled], None], retry_seconds: float
) -> None:
    batch, call = in_flight.popleft()
    on_settled(batch.settled(call.reply(retry_seconds)))


def _batches(events: Iterable[NumberedEvent]) -> Iterator[_Batch]:
    batch = _Batch()
    for line, event in events:
        batch.add(line, event)
        if batch.full:
            yield batch
            batch = _Batch()
    if batch.last_line:
        yield batch


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True
