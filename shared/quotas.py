"""Quotas: a bucket for each sender, which a minute fills.

Counted by each process for itself: three replicas let through up to three times as many.
"""

from dataclasses import dataclass
from threading import Lock

MAXIMUM_SENDERS = 10_000
_MINUTE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """What is left of a quota at a moment, in things and seconds."""

    left: float
    seconds: float

    def at(self, seconds: float, per_minute: int) -> "Bucket":
        """Return the bucket at another moment: a minute fills it, whatever it lacked."""
        gained = max(0.0, seconds - self.seconds) * per_minute / _MINUTE_SECONDS
        return Bucket(min(float(per_minute), self.left + gained), max(seconds, self.seconds))


class Quotas:
    """The buckets of all senders. Safe to share between threads."""

    def __init__(self, maximum_senders: int = MAXIMUM_SENDERS) -> None:
        self._maximum = maximum_senders
        self._buckets: dict[str, Bucket] = {}  # who took last comes last
        self._lock = Lock()

    def take(self, sender: str, per_minute: int, things: int, now: float) -> float:
        """Take things from a sender's quota; return 0, or the seconds until there are enough.

        Args:
            sender: whose quota it is.
            per_minute: how many things a minute; also how many at once.
            things: how many to take, at most `per_minute`. Nothing is taken where there are too few.
            now: seconds on a clock that never goes back.

        """
        with self._lock:
            bucket = self._buckets.pop(sender, Bucket(float(per_minute), now)).at(now, per_minute)
            missing = things - bucket.left
            left = bucket.left if missing > 0 else bucket.left - things
            self._buckets[sender] = Bucket(left, bucket.seconds)
            # Who took nothing for a minute has a full bucket, as somebody new has.
            if len(self._buckets) > self._maximum:
                del self._buckets[next(iter(self._buckets))]
        return max(0.0, missing) * _MINUTE_SECONDS / per_minute
