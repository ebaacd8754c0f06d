"""Waiting for what other threads do."""

import threading
from collections.abc import Callable
from time import monotonic

DEADLINE = 20.0


def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    end = monotonic() + seconds
    waiting = threading.Event()
    while not condition():
        assert monotonic() < end, "did not happen in time"
        waiting.wait(0.01)
