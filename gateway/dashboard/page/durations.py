"""Lengths of time as people read them."""

from typing import Final

from gateway.dashboard.page import formats

# From this many seconds on: the unit's seconds and name, and those of the unit beneath it.
_UNITS: Final = (
    (86_400, "d", 3_600, "h"),
    (3_600, "h", 60, "min"),
    (60, "min", 1, "s"),
)


def spelled(seconds: float) -> str:
    """Return a length of time in its two largest units: 3 d 4 h, 2 min 10 s; below a minute in seconds."""
    for unit, name, smaller, smaller_name in _UNITS:
        rounded = round(seconds / smaller)
        if rounded * smaller >= unit:
            most, rest = divmod(rounded, unit // smaller)
            return f"{most:,} {name} {rest} {smaller_name}" if rest else f"{most:,} {name}"
    return f"{formats.significant(seconds)} s"


def exact(seconds: float) -> str:
    """Return a length of time in seconds with all the digits worth reading."""
    return f"{seconds:,.3f} s"
