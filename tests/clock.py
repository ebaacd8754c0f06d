"""A clock in the test's hand."""

from dataclasses import dataclass

# 12:00 UTC on the day before Berlin put its clocks forward (2011-03-27, 01:00 UTC) or back (2011-10-30).
BEFORE_CHANGES = {"forward": 1_301_140_800_000_000, "back": 1_319_889_600_000_000}


@dataclass
class Clock:
    """Unix microseconds, standing still until moved."""

    micros: int = 1_321_000_000_000_000  # 2011-11-11 08:26:40

    def __call__(self) -> int:
        """Return the time."""
        return self.micros
