"""Takes batches out of the buffer and brings them to the events service, one at a time."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import grpc
from brain.events.v1.events_pb2 import Event, TrackEventsRequest, TrackEventsResponse
from brain.events.v1.events_pb2_grpc import EventsServiceStub

from brain_client.buffer import Buffer, Delivery
from brain_client.errors import explain
from brain_client.retries import call_with_retries

OnDrop = Callable[[Sequence[Event], str], None]

_log = logging.getLogger("brain_client")
_LOG_EVERY_SECONDS = 10.0


@dataclass
class Counters:
    """What became of the events whose fate is known."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0
    dropped: int = 0


class Drops:
    """Counts lost events and tells the application; without a callback, the log."""

    def __init__(self, on_drop: OnDrop | None) -> None:
        self._on_drop = on_drop
        self._lock = threading.Lock()
        self._logged_at = float("-inf")
        self.dropped = 0

    def drop(self, events: Sequence[Event], reason: str) -> None:
        """Count events that were never stored, and tell."""
        with self._lock:
            self.dropped += len(events)
        self.tell(events, reason)

    def tell(self, events: Sequence[Event], reason: str) -> None:
        """Tell without counting. What the callback raises is logged: it must not stop the sender."""
        if self._on_drop is None:
            self._log(len(events), reason)
            return
        try:
            self._on_drop(events, reason)
        except Exception:  # noqa: BLE001 — the application's code, which may raise anything
            _log.exception("on_drop raised")

    def _log(self, count: int, reason: str) -> None:
        with self._lock:
            if time.monotonic() - self._logged_at < _LOG_EVERY_SECONDS:
                return
            self._logged_at = time.monotonic()
        _log.warning("%d events dropped: %s", count, reason)


class Sender:
    """The background thread. A daemon, so that a program that ends without close() is not held up by it."""

    def __init__(self, stub: EventsServiceStub, buffer: Buffer, drops: Drops, delivery: Delivery) -> None:
        self._stub = stub
        self._buffer = buffer
        self._drops = drops
        self._delivery = delivery
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="brain-client", daemon=True)
        self.counters = Counters()

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def ends_within(self, timeout: float) -> bool:
        """Whether the sender of a closed buffer has sent all and ended within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Try no batch again; what is not stored by now is dropped."""
        self._given_up.set()

    def _run(self) -> None:
        while batch := self._buffer.take():
            try:
                self._send(batch)
            except Exception as error:  # noqa: BLE001 — if it ended the thread, every later event would be lost
                _log.exception("a batch failed in an unforeseen way")
                self._drops.drop(batch, f"{type(error).__name__}: {error}")
            finally:
                self._buffer.settle(batch)

    def _send(self, batch: list[Event]) -> None:
        request = TrackEventsRequest(events=batch)
        try:
            reply = call_with_retries(
                lambda timeout: self._stub.TrackEvents(request, timeout=timeout),
                self._delivery.retry_seconds,
                lambda seconds: not self._given_up.wait(seconds),
            )
        except (grpc.RpcError, ValueError) as error:  # ValueError: the channel was closed under the call
            self._drops.drop(batch, explain(error) if isinstance(error, grpc.RpcError) else str(error))
        else:
            self._count(batch, reply)

    def _count(self, batch: list[Event], reply: TrackEventsResponse) -> None:
        problems: dict[int, str] = {}
        for rejection in reply.rejections:
            told = problems.get(rejection.index, "rejected:")
            problems[rejection.index] = f"{told} {rejection.field} {rejection.reason};"
        at_fault: dict[str, list[Event]] = {}
        for index, problem in problems.items():
            at_fault.setdefault(problem, []).append(batch[index])
        self.counters.accepted += reply.accepted
        self.counters.duplicates += reply.duplicates
        self.counters.rejected += len(problems)
        for reason, events in sorted(at_fault.items()):
            self._drops.tell(events, reason.removesuffix(";"))
