"""Keeps kinds of calls out of each other's way: each has threads and a limit of its own.

Load balancers must get their answer whatever callers do, and callers without a token (reflection is open to
all) must not take threads from those with one.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from shared.auth import is_open
from shared.limits import Limit

_HEALTH: Final = "/grpc.health.v1.Health/"
# Started as they are needed. A probe holds one for microseconds, or until it is found to send nothing.
_PROBE_THREADS: Final = 32
_PROBE_SECONDS: Final = 5.0
_PROBES: Final = 1_000
_REFLECTIONS: Final = 4


@dataclass(frozen=True)
class Lane:
    """Where calls of one kind run; `silence_seconds` is how long their clients may neither send nor read.

    `streams` counts those of them that stream, whose number is less.
    """

    pool: ThreadPoolExecutor
    limit: Limit
    streams: Limit
    silence_seconds: float


class Lanes:
    """The lanes of one server."""

    def __init__(
        self, *, threads: int, maximum_calls: int, maximum_streams: int, silence_seconds: float
    ) -> None:
        pool, probes = ThreadPoolExecutor(threads, "call"), ThreadPoolExecutor(_PROBE_THREADS, "call-probe")
        reflections = ThreadPoolExecutor(_REFLECTIONS, "call-reflection")
        self.calls = Lane(pool, Limit(maximum_calls), Limit(maximum_streams), silence_seconds)
        # Apart, for a watch stays open and must not keep a check from its answer.
        self._checks = Lane(probes, Limit(_PROBES), Limit(0), _PROBE_SECONDS)
        self._watches = Lane(probes, Limit(_PROBES), Limit(_PROBES), _PROBE_SECONDS)
        limit = Limit(_REFLECTIONS)
        self._reflections = Lane(reflections, limit, Limit(_REFLECTIONS), silence_seconds)

    def of_method(self, full_method: str) -> Lane:
        """Return the lane of `/package.Service/Method`."""
        if full_method.startswith(_HEALTH):
            return self._watches if full_method.endswith("/Watch") else self._checks
        return self._reflections if is_open(full_method) else self.calls

    def for_refusals(self) -> ThreadPoolExecutor:
        """Return threads that are free to say no."""
        return self._checks.pool

    def close(self) -> None:
        """End the threads; calls that still wait for one are dropped."""
        for pool in (self.calls.pool, self._reflections.pool, self._checks.pool):
            pool.shutdown(wait=True, cancel_futures=True)
