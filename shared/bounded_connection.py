"""Connections that a call waits for no longer than its caller waits for the call.

`statement_timeout` ends what PostgreSQL does, and no answer that a slow or dead network keeps back.
"""

from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg.abc import PQGen, PQGenConn
from sqlalchemy.pool import QueuePool
from sqlalchemy.util.queue import Queue

from shared.deadlines import remaining_seconds

# PostgreSQL's own word that time is up keeps the connection usable, so it is waited for.
GRACE_SECONDS: Final = 0.5
# psycopg, like libpq, gives a connection at least this long.
_SHORTEST_CONNECT_SECONDS: Final = 2
_INTERVAL_SECONDS: Final = 0.1

RV = TypeVar("RV")


class BoundedConnection(psycopg.Connection[Any]):
    """Ends with QueryCanceled, closed, where an answer does not come while somebody waits for it."""

    def wait(self, gen: PQGen[RV], interval: float = _INTERVAL_SECONDS, timeout: float | None = None) -> RV:
        """Do what `gen` does, for the time left to the caller and a grace, or `timeout` if that is less."""
        left = remaining_seconds() + GRACE_SECONDS
        if timeout is not None:
            left = min(left, timeout)
        try:
            return super().wait(gen, interval, None if left == float("inf") else left)
        except psycopg.OperationalError as error:
            if error.sqlstate is not None or self.closed or remaining_seconds():
                raise
            self.pgconn.finish()  # the answer may still come, and would be taken for the next one's
            raise psycopg.errors.QueryCanceled("nobody waits for the answer any more") from error

    @classmethod
    def _connect_gen(cls, conninfo: str = "") -> PQGenConn[Self]:
        """Connect step by step while somebody waits; psycopg asks for a step at least ten times a second."""
        steps = super()._connect_gen(conninfo)
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not remaining_seconds():
                raise psycopg.errors.QueryCanceled("nobody waits for the connection any more")
            try:
                wanted = steps.send(ready)
            except StopIteration as end:
                made: Self = end.value
                return made


class BoundedPool(QueuePool):
    """A pool where a call waits for a connection no longer than its caller waits for the call."""

    class _Queue(Queue[Any]):
        def get(self, block: bool = True, timeout: float | None = None) -> Any:  # noqa: ANN401, FBT001, FBT002 - as its superclass
            left = remaining_seconds()
            return super().get(block, left if timeout is None else min(timeout, left))

    _queue_class = _Queue


def connect(
    _dialect: object, _entry: object, arguments: tuple[Any, ...], parameters: dict[str, Any]
) -> BoundedConnection:
    """Connect in the time left to the caller; QueryCanceled where there is none.

    For SQLAlchemy's event `do_connect`.
    """
    left = remaining_seconds()
    if not left:
        raise psycopg.errors.QueryCanceled("nobody waits for a connection any more")
    longest = max(_SHORTEST_CONNECT_SECONDS, min(left, parameters["connect_timeout"]))
    return BoundedConnection.connect(*arguments, **{**parameters, "connect_timeout": int(longest)})
