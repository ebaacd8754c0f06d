"""How many of a thing may be open at once."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from shared.errors import ResourceExhausted


class Limit:
    """Counts what is open now; safe to share between threads."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self._open = 0
        self._lock = Lock()

    def enter(self) -> bool:
        """Count one more, which must `leave`; return False, counting nothing, at the maximum."""
        with self._lock:
            if self._open >= self._maximum:
                return False
            self._open += 1
            return True

    def leave(self) -> None:
        """Count one less."""
        with self._lock:
            self._open -= 1

    @contextmanager
    def one_more(self, things: str, reason: str) -> Iterator[None]:
        """Hold one open; raise ResourceExhausted that names the things at the maximum."""
        if not self.enter():
            raise ResourceExhausted(f"{self._maximum} {things} are open, which is the limit", reason)
        try:
            yield
        finally:
            self.leave()
