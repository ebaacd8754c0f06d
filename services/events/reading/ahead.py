"""Reading on while the caller is busy with what was read."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Part = TypeVar("Part")
Read = TypeVar("Read")

# As many statements at once for one caller; each has a connection while it runs.
AT_ONCE = 2


def read_ahead(parts: Sequence[Part], read: Callable[[Part], Read]) -> Iterator[Read]:
    """Yield what is read of each part, in their order, while the parts behind are being read.

    Reading ends with the deadline of the call that this runs for. Whoever closes the iterator waits for what
    is being read.
    """
    if len(parts) == 1:
        yield read(parts[0])
        return
    pending: deque[Future[Read]] = deque()
    with ThreadPoolExecutor(AT_ONCE, "scan") as pool:
        try:
            for part in parts:
                if len(pending) == AT_ONCE:
                    yield pending.popleft().result()
                pending.append(pool.submit(copy_context().run, read, part))
            while pending:
                yield pending.popleft().result()
        finally:
            for each in pending:
                each.cancel()
