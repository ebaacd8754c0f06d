"""Notices that the machine's clock was set back. Pure."""

from dataclasses import dataclass

from shared.calendar import MICROS

# Smaller steps make nothing late that anybody would notice.
LEAST_SECONDS = 60


@dataclass
class SetBack:
    """Compares a clock with the machine's uptime, which nobody sets."""

    _furthest_ahead: int | None = None

    def is_seen(self, now: int, uptime_seconds: float) -> bool:
        """Return whether the clock (Unix microseconds) shows less than it would, had nobody set it back."""
        ahead = now - round(uptime_seconds * MICROS)
        if self._furthest_ahead is None or ahead > self._furthest_ahead:
            self._furthest_ahead = ahead
        return ahead < self._furthest_ahead - LEAST_SECONDS * MICROS

    def accept(self) -> None:
        """Take the clock for right from now on."""
        self._furthest_ahead = None
