"""Databases filled once a run and read by several sections."""

from benchmarks import data, loading
from benchmarks.data import Columns
from benchmarks.stack import Stack


class Stored:
    """Synthetic events of 90 days, by how many there are."""

    def __init__(self, stack: Stack, now: int) -> None:
        """`now` is in Unix µs: the time of the last event."""
        self.stack = stack
        self.now = now
        self._databases: set[str] = set()

    def columns(self, count: int) -> Columns:
        """Return the events."""
        return data.spread(count, self.now)

    def database(self, count: int) -> str:
        """Return the database that holds the events, folded; the first time, fill it."""
        name = f"stored_{count}"
        if name not in self._databases:
            loading.load(self.stack, name, self.columns(count))
            self._databases.add(name)
        return name
