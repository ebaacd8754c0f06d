"""Events that may be stored, as columns, and what a text field may hold."""

from dataclasses import dataclass, field
from functools import cache

from services.events.domain import Name, Who
from shared.calendar import MICROS

MAXIMUM_ID = 200
MAXIMUM_TEXT = 2000
MAXIMUM_VALUE = 1e12
EARLIEST = 946_684_800 * MICROS  # 2000-01-01
MAXIMUM_AHEAD = 24 * 3600 * MICROS
SECOND_NANOS = 1_000_000_000

# The least and the greatest number of characters of each text field.
TEXT_LIMITS = {
    "event": (1, 200),
    "session_id": (1, MAXIMUM_ID),
    "user_id": (0, MAXIMUM_ID),
    "anonymous_id": (0, MAXIMUM_ID),
    "event_id": (0, MAXIMUM_ID),
    "category": (0, 100),
    "page": (0, MAXIMUM_TEXT),
    "referrer": (0, MAXIMUM_TEXT),
    "user_agent": (0, MAXIMUM_TEXT),
}

# Binary COPY puts a length before each field, -1 for NULL, which is what an empty text becomes. Looking the
# length up is quicker than packing it.
_NULL = b"\xff\xff\xff\xff"
LENGTHS = [_NULL] + [length.to_bytes(4, "big") for length in range(1, 4 * MAXIMUM_TEXT + 1)]


@dataclass(slots=True)
class Batch:
    """Columns of events; filled once, then only read.

    ids are 16 bytes each; tails hold the text columns as binary COPY wants them; indexes are the positions in
    what the caller sent.
    """

    indexes: list[int] = field(default_factory=list)
    who: list[Who] = field(default_factory=list)
    anonymous: list[Who | None] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    ids: list[bytes] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    tails: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, end: int) -> "Batch":
        """Return a slice of all columns."""
        return Batch(*(getattr(self, name)[start:end] for name in self.__slots__))

    def take(self, rows: list[int]) -> "Batch":
        """Return some rows of all columns."""
        return Batch(*([getattr(self, name)[row] for row in rows] for name in self.__slots__))


def text_column(text: str) -> bytes:
    """Encode a text for binary COPY."""
    encoded = text.encode()
    return LENGTHS[len(encoded)] + encoded


def properties_column(properties: bytes) -> bytes:
    """Encode properties, JSON or empty, for binary COPY."""
    return properties_length(len(properties)) + properties


@cache
def properties_length(length: int) -> bytes:
    """Return what binary COPY wants before that many bytes of JSON, 0 being none."""
    return (length + 1).to_bytes(4, "big") + b"\1" if length else _NULL  # 1: the version of jsonb
