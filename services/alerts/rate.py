"""How many attempts a channel may make: what is over the rate waits."""

import time
from collections.abc import Callable
from threading import Lock


class Rate:
    """A bucket that fills with `per_minute` a minute and holds a tenth of that, at least one.

    0 permits any number. Safe to share between threads.
    """

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._size = max(1.0, per_minute / 10)
        self._now = now
        self._filled = now()
        self._left = self._size
        self._lock = Lock()

    def take(self, wanted: int) -> int:
        """Return how many of so many attempts may be made now, and count them."""
        if not self._per_second:
            return wanted
        with self._lock:
            now = self._now()
            self._left = min(self._size, self._left + (now - self._filled) * self._per_second)
            self._filled = now
            taken = min(wanted, int(self._left))
            self._left -= taken
            return taken

    def give_back(self, count: int) -> None:
        """Take back attempts that were counted and not made."""
        with self._lock:
            self._left = min(self._size, self._left + count)
