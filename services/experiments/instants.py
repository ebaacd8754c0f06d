"""Unix microseconds and PostgreSQL's timestamptz."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_datetime(micros: int) -> datetime:
    """Return the instant of Unix microseconds."""
    return _EPOCH + micros * _MICROSECOND


def to_micros(instant: datetime) -> int:
    """Return the Unix microseconds of an instant."""
    return (instant - _EPOCH) // _MICROSECOND
