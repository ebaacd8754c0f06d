"""Instants as microseconds since 1970-01-01 UTC, the resolution PostgreSQL keeps."""

from google.protobuf.timestamp_pb2 import Timestamp

# 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, the range protobuf defines.
MINIMUM_SECONDS = -62_135_596_800
MAXIMUM_SECONDS = 253_402_300_799

_NANOS_PER_SECOND = 1_000_000_000


def to_micros(stamp: Timestamp) -> int | None:
    """Return Unix microseconds, anything finer cut off; None outside protobuf's range."""
    seconds = stamp.seconds
    nanos = stamp.nanos
    if not (MINIMUM_SECONDS <= seconds <= MAXIMUM_SECONDS and 0 <= nanos < _NANOS_PER_SECOND):
        return None
    return seconds * 1_000_000 + nanos // 1_000


def from_micros(micros: int) -> Timestamp:
    """Return the timestamp of Unix microseconds within the years 1 to 9999."""
    seconds, rest = divmod(micros, 1_000_000)
    return Timestamp(seconds=seconds, nanos=rest * 1_000)
