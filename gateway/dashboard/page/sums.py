"""Which metrics add up over time: somebody active on two days is one person, a mean of two days no sum."""

from typing import Final

_SUMS: Final = frozenset({"event_count", "event_value", "new_users", "revenue", "sessions"})


def adds_up(metric: str) -> bool:
    """Return whether a metric of a span is the sum of those of its days."""
    return metric in _SUMS
