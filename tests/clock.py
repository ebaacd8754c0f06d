"""A clock in the test's hand."""

from dataclasses import dataclass


@dataclass
class Clock:
    """Unix microseconds, standing still until moved."""

    micros: int = 1_321_000_000_000_000  # 2011-11-11 08:26:40

    def __call__(self) -> int:
        """Return the time."""
        return self.micros
