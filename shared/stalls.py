"""Ends calls whose clients neither send nor read, for each holds a thread.

gRPC waits for a message, and for room to send one, without any time limit.
"""

import time
from collections.abc import Callable, Iterator
from threading import Event, Thread
from types import TracebackType
from typing import Final

from shared.errors import DeadlineExceeded, FieldViolation, InvalidArgument

_LONGEST_INTERVAL_SECONDS: Final = 1.0


class Stalls:
    """The waits of one server's calls for their clients. One thread looks at all of them."""

    def __init__(self, interval_seconds: float = _LONGEST_INTERVAL_SECONDS) -> None:
        # Who pops a wait from here decides how it ended: the call, or the thread below. Single operations of
        # a dict need no lock.
        self._waiting: dict[Wait, float] = {}
        self._interval_seconds = min(interval_seconds, _LONGEST_INTERVAL_SECONDS)
        self._stopped = Event()
        self._thread = Thread(target=self._watch, name="call-stalls", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._thread.join()

    def begin(self, wait: "Wait", until: float) -> None:
        """Take note of a wait, to be ended at `until` on the monotonic clock."""
        self._waiting[wait] = until

    def forget(self, wait: "Wait") -> bool:
        """Return whether the wait went on until now; it does no more."""
        return self._waiting.pop(wait, None) is not None

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval_seconds):
            now = time.monotonic()
            for wait, until in list(self._waiting.items()):
                if until <= now and self.forget(wait):
                    wait.end()


class Wait:
    """One call's waits for its client, one at a time: `with wait:` around what blocks.

    A wait longer than `seconds` is ended by `end`, called from another thread, and raises DeadlineExceeded
    (CLIENT_SILENT). `stalled` tells from then on that it was.
    """

    __slots__ = ("_seconds", "_stalls", "end", "stalled")

    def __init__(self, stalls: Stalls, seconds: float, end: Callable[[], object]) -> None:
        self._stalls = stalls
        self._seconds = seconds
        self.end = end
        self.stalled = False

    def __enter__(self) -> None:
        self._stalls.begin(self, time.monotonic() + self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._stalls.forget(self):
            self.stalled = True
            raise client_silent(self._seconds)

    def each(self, requests: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the requests, waiting for each."""
        while True:
            with self:
                message = next(requests, None)
            if message is None:
                return
            yield message

    def only(self, requests: Iterator[bytes]) -> bytes:
        """Return the one request of a call; raise InvalidArgument if its client closes without one."""
        with self:
            message = next(requests, None)
        if message is None:
            raise InvalidArgument([FieldViolation("", "the call carries no request")])
        return message


def client_silent(seconds: float) -> DeadlineExceeded:
    """Return what a client is told that waited too long itself."""
    return DeadlineExceeded(f"the client neither sent nor read for {seconds:g} s", "CLIENT_SILENT")
