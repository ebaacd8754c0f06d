"""Group commit: callers that arrive together share a transaction, so that a flush to disk serves many.

A caller waits until its events are committed. Under little load a batch is taken at once; under much, batches
gather while the transactions before them run.
"""

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import TYPE_CHECKING

from services.events.ingest.batch import Batch
from shared.errors import ResourceExhausted, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.events.ingest.writer import Outcome

GROUP_EVENTS = 5_000


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    outcome: "Future[Outcome]" = field(default_factory=Future)


class GroupCommit:
    """A bounded queue of batches and the threads that write them."""

    def __init__(
        self, write: "Callable[[list[Batch]], list[Outcome | Exception]]", *, writers: int, queue_events: int
    ) -> None:
        self._write = write
        self._queue_events = queue_events
        self._queue: deque[_Waiting] = deque()
        self._queued = 0
        self._closed = False
        self._changed = Condition()
        self._threads = [Thread(target=self._run, name=f"group-commit-{number}") for number in range(writers)]
        for thread in self._threads:
            thread.start()

    def submit(self, batch: Batch) -> "Future[Outcome]":
        """Queues a batch; the future holds what became of it once it is committed, or why it was not.

        Raises:
            ResourceExhausted: the queue is full; try again shortly.
            Unavailable: the server is stopping.

        """
        waiting = _Waiting(batch)
        with self._changed:
            if self._closed:
                raise Unavailable("the server is stopping", "STOPPING")
            if self._queued and self._queued + len(batch) > self._queue_events:
                raise ResourceExhausted(
                    "too many events wait to be stored", "INGEST_OVERLOADED", retry_seconds=1
                )
            self._queue.append(waiting)
            self._queued += len(batch)
            self._changed.notify()
        return waiting.outcome

    def queued_events(self) -> int:
        """Return how many events wait for a writer."""
        return self._queued

    def close(self) -> None:
        """Write what is queued, then ends the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while group := self._take():
            try:
                outcomes = self._write([waiting.batch for waiting in group])
            except Exception as error:  # noqa: BLE001 - whatever it is, the callers wait for it
                outcomes = [error for _ in group]
            for waiting, outcome in zip(group, outcomes, strict=True):
                if isinstance(outcome, Exception):
                    waiting.outcome.set_exception(outcome)
                else:
                    waiting.outcome.set_result(outcome)

    def _take(self) -> list[_Waiting]:
        """Wait for a group; empty once everything is written and the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed)
            group: list[_Waiting] = []
            events = 0
            while self._queue and (not group or events + len(self._queue[0].batch) <= GROUP_EVENTS):
                waiting = self._queue.popleft()
                group.append(waiting)
                events += len(waiting.batch)
            self._queued -= events
            return group
