"""What was found, kept in memory as long as it was found in what is stored now."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from services.funnels.attribution import StepValues
from services.funnels.columns import Matches, Source
from services.funnels.reading.loading import Asked
from services.funnels.rules import Entry

Name = tuple[Asked, Entry]


@dataclass(frozen=True, slots=True)
class Found:
    """Everybody's best attempt, and the events that may begin one which is still open at `now` (Unix µs).

    values are those of a property on the steps, by the texts; None where none was asked for.
    """

    matches: Matches
    late: Source
    values: StepValues | None
    texts: tuple[str, ...]
    now: int

    @property
    def size(self) -> int:
        """Return the bytes it takes in memory, roughly."""
        values = 0 if self.values is None else self.values.codes.nbytes
        matches = self.matches.user_keys.nbytes + self.matches.times.nbytes
        return 1_000 + 4 * self.late.times.nbytes + matches + values


class FoundCache:
    """Holds what was found by what was asked, beside a fingerprint of what it was found in.

    Safe between threads. At most `maximum_bytes` are held, what was used least recently goes first.
    """

    def __init__(self, maximum_bytes: int) -> None:
        self._maximum_bytes = maximum_bytes
        self._held: OrderedDict[Name, tuple[bytes, Found]] = OrderedDict()
        self._held_bytes = 0
        self._lock = Lock()

    def get(self, name: Name, fingerprint: bytes) -> Found | None:
        """Return what was found in the very same."""
        with self._lock:
            held = self._held.get(name)
            if held is None or held[0] != fingerprint:
                return None
            self._held.move_to_end(name)
            return held[1]

    def keep(self, name: Name, fingerprint: bytes, found: Found) -> None:
        """Hold what was found, in place of what was found before."""
        with self._lock:
            if name in self._held:
                self._held_bytes -= self._held.pop(name)[1].size
            if found.size > self._maximum_bytes:
                return
            self._held[name] = fingerprint, found
            self._held_bytes += found.size
            while self._held_bytes > self._maximum_bytes:
                self._held_bytes -= self._held.popitem(last=False)[1][1].size
