"""Holds tracked events between the caller and the sender, within bounds."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from brain.events.v1.events_pb2 import Event


@dataclass(frozen=True)
class Delivery:
    """How events are buffered, batched and retried."""

    buffer_events: int = 50_000  # held at most, the batch being sent included
    buffer_bytes: int = 32 * 1024 * 1024
    block_seconds: float = 0.1  # how long track() may wait for room before it drops
    batch_events: int = 1_000  # the server takes 5,000
    batch_bytes: int = 1024 * 1024  # the server takes 4 MiB
    linger_seconds: float = 0.5  # how long an event waits for others to share its batch
    retry_seconds: float = 300.0  # how long one batch is tried before it is dropped
    exit_seconds: float = 10.0  # how long close() and the end of the program wait for the rest

    def __post_init__(self) -> None:
        if not 1 <= self.batch_events <= min(5_000, self.buffer_events):
            raise ValueError("batch_events must be 1 to 5,000 and no more than buffer_events")
        if not 1 <= self.batch_bytes <= min(3_500_000, self.buffer_bytes):
            raise ValueError("batch_bytes must be 1 to 3,500,000 and no more than buffer_bytes")


class Buffer:
    """A first-in first-out queue bounded by events and bytes; any threads put, one takes and settles."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Event, int, float]] = deque()  # event, bytes, when it came
        self._waiting_bytes = 0
        self._held_bytes = 0  # waiting or being sent
        self._added = 0
        self.offered = 0  # put() was called so often
        self._settled = 0
        self._wanted = 0  # events up to this count are not to linger
        self._stalled = False  # somebody waited for room in vain; nobody else does until there is some
        self.closed = False  # written by close() alone

    @property
    def held(self) -> int:
        """Events that wait or are being sent."""
        return self._added - self._settled

    def put(self, event: Event) -> bool:
        """Append; False where there was no room within block_seconds, or after close."""
        size = event.ByteSize()
        with self._changed:
            self.offered += 1
            if not self._has_room(size) and not self._wait_for_room(size):
                return False
            self._waiting.append((event, size, time.monotonic()))
            self._waiting_bytes += size
            self._held_bytes += size
            self._added += 1
            if len(self._waiting) == 1 or self._batch_is_full():
                self._changed.notify_all()
            return True

    def take(self) -> list[Event]:
        """Wait for a full batch, a lingering event, a flush or close; empty means closed and empty."""
        with self._changed:
            while (rest := self._seconds_to_wait()) is None or rest > 0:
                self._changed.wait(rest)
            return self._cut_batch()

    def settle(self, batch: Sequence[Event]) -> None:
        """Give back the room of a batch whose fate is known."""
        with self._changed:
            self._settled += len(batch)
            self._held_bytes -= sum(event.ByteSize() for event in batch)
            self._stalled = False
            self._changed.notify_all()

    def flush(self, timeout: float) -> bool:
        """Hurry what was put so far; whether all of it settled within `timeout` seconds."""
        with self._changed:
            target = self._wanted = self._added
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._settled >= target, timeout)

    def close(self) -> None:
        """Take no more events and hurry the rest."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()

    def empty(self) -> list[Event]:
        """Remove and return what nobody has taken yet; its room is given back."""
        with self._changed:
            left = [event for event, _, _ in self._waiting]
            self._waiting.clear()
            self._waiting_bytes = 0
        self.settle(left)
        return left

    def _has_room(self, size: int) -> bool:
        return (
            not self.closed
            and self.held < self._delivery.buffer_events
            and self._held_bytes + size <= self._delivery.buffer_bytes
        )

    def _wait_for_room(self, size: int) -> bool:
        if self._stalled or self.closed:
            return False
        has_room = self._changed.wait_for(
            lambda: self._has_room(size) or self.closed, self._delivery.block_seconds
        )
        self._stalled = not has_room
        return has_room and not self.closed

    def _batch_is_full(self) -> bool:
        return (
            len(self._waiting) >= self._delivery.batch_events
            or self._waiting_bytes >= self._delivery.batch_bytes
        )

    def _seconds_to_wait(self) -> float | None:
        """None: until something changes."""
        if self.closed:
            return 0
        if not self._waiting:
            return None
        taken = self._added - len(self._waiting)
        if self._batch_is_full() or self._wanted > taken:
            return 0
        return self._waiting[0][2] + self._delivery.linger_seconds - time.monotonic()

    def _cut_batch(self) -> list[Event]:
        batch: list[Event] = []
        total = 0
        while self._waiting and len(batch) < self._delivery.batch_events:
            event, size, _ = self._waiting[0]
            if batch and total + size > self._delivery.batch_bytes:
                break
            self._waiting.popleft()
            batch.append(event)
            total += size
        self._waiting_bytes -= total
        return batch
