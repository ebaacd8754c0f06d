"""How long the caller of this thread's call still waits, so that work on its behalf ends by then."""

import time
from contextvars import ContextVar

# On the monotonic clock, infinite for a caller that waits without end.
_deadline_of_call: ContextVar[float] = ContextVar("deadline_of_call", default=float("inf"))


# gRPC counts centuries for a caller without a deadline, more than it takes as one.
_ENDLESS_SECONDS = 366 * 86_400.0


def set_remaining(seconds: float) -> None:
    """Note that the caller of this thread's call waits so much longer; more than a year is without end."""
    endless = seconds > _ENDLESS_SECONDS
    _deadline_of_call.set(float("inf") if endless else time.monotonic() + seconds)


def remaining_seconds() -> float:
    """Return how much longer the caller waits: 0 if no more, infinity outside of calls."""
    return max(0.0, _deadline_of_call.get() - time.monotonic())
