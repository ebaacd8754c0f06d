"""Repeats idempotent calls for as long as their failure may pass."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import grpc

from brain_client.errors import advised_delay, as_call

Reply = TypeVar("Reply")

# What may be different next time. CANCELLED and UNKNOWN are what a server that is torn down in the middle of
# a call, or a proxy before it, leaves behind: nobody on this side cancels, and the services answer a fault of
# their own with INTERNAL.
PASSING = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
    }
)
FIRST_DELAY_SECONDS = 0.1
LONGEST_DELAY_SECONDS = 10.0
LONGEST_CALL_SECONDS = 30.0


def may_pass(error: grpc.RpcError) -> bool:
    """Tell whether the same call may succeed later."""
    call = as_call(error)
    return call is not None and call.code() in PASSING


def delay_seconds(error: grpc.RpcError, failures: int) -> float:
    """Return how long to wait after so many failures: exponential, with full jitter, never before advised."""
    longest = min(LONGEST_DELAY_SECONDS, FIRST_DELAY_SECONDS * 2.0 ** min(failures, 10))
    jitter = random.uniform(0, longest)  # noqa: S311 — spreads load, guards nothing
    return (advised_delay(error) or 0.0) + jitter


def call_with_retries(
    call: Callable[[float], Reply], seconds: float, pause: Callable[[float], bool]
) -> Reply:
    """Return the reply of call(timeout_seconds), repeated until it succeeds or its failure is final.

    `pause(seconds)` waits and returns False to give up. Raises the last grpc.RpcError when it is final, when
    the wait before the next attempt would pass `seconds` from now, or when pause gives up.
    """
    end = time.monotonic() + seconds
    failures = 0
    while True:
        try:
            return call(max(0.05, min(LONGEST_CALL_SECONDS, end - time.monotonic())))
        except grpc.RpcError as error:
            failures += 1
            delay = delay_seconds(error, failures)
            if not may_pass(error) or time.monotonic() + delay > end or not pause(delay):
                raise
