"""Caches live no longer than the connections they were read through.

After a fail-over or a restore the database may lack what a cache remembers, and hand its keys to somebody
else. Every new connection may be one to such a database.
"""

from typing import Any, Protocol

from sqlalchemy import Engine, event


class Cache(Protocol):
    """Something that remembers what is in the database."""

    def clear(self) -> None:
        """Forget it."""


class Reconnects:
    """Counts the connections an engine makes, and clears the caches with each."""

    def __init__(self, engine: Engine, *caches: Cache) -> None:
        self.count = 0
        self._caches = caches
        event.listen(engine, "connect", self._connected)

    def _connected(self, *_connection_and_record: Any) -> None:  # noqa: ANN401 - the pool's own objects
        self.count += 1
        for cache in self._caches:
            cache.clear()
