"""Numbers and times as people read them."""

import math
from datetime import UTC, date, datetime, tzinfo

from google.protobuf.timestamp_pb2 import Timestamp

from shared.timestamps import to_micros

NOTHING = "\N{EN DASH}"

MINUS = "\N{MINUS SIGN}"

_SHORT_FROM = 1_000_000
_SMALLEST_PROBABILITY = 0.001
_SCALES = ((1e12, "T"), (1e9, "B"), (1e6, "M"))
_UNSPELLED_UNITS = frozenset({"ratio", "currency"})


def whole(number: float) -> str:
    """Return a count with thousands separators: 541,909."""
    return f"{number:,.0f}"


def short(number: float) -> str:
    """Return a count of at most seven characters: 541,909, or 9.75 M from a million on."""
    if abs(number) < _SHORT_FROM:
        return whole(number)
    scale, letter = next(entry for entry in _SCALES if abs(number) >= entry[0] or entry is _SCALES[-1])
    return f"{significant(number / scale)} {letter}"


def significant(number: float) -> str:
    """Return three significant digits without an exponent: 38.4, 0.0123, 1,230."""
    if number == 0:
        return "0"
    rounded = float(f"{number:.3g}")
    digits = max(0, 2 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{digits}f}"


def percent(ratio: float) -> str:
    """Return a ratio in percent with three significant digits: 38.4 %."""
    return f"{significant(ratio * 100)} %"


def signed_percent(ratio: float) -> str:
    """Return a change in percent with its sign: +12.3 %."""
    sign = "+" if ratio > 0 else "\N{MINUS SIGN}" if ratio < 0 else "±"
    return f"{sign}{percent(abs(ratio))}"


def probability(value: float) -> str:
    """Return a p-value: 0.0123, or < 0.001."""
    return "< 0.001" if value < _SMALLEST_PROBABILITY else significant(value)


def quantity(value: float, unit: str, currency: str) -> str:
    """Return a value with its unit, shortened from a million on."""
    if unit == "ratio":
        return percent(value)
    if unit == "currency":
        return " ".join(filter(None, (short(value), currency)))
    return short(value)


def exact(value: float, unit: str, currency: str) -> str:
    """Return a value with its unit and all the digits worth reading."""
    if unit == "ratio":
        return f"{value:.6f}"
    if unit == "currency":
        return " ".join(filter(None, (f"{value:,.2f}", currency)))
    number = whole(value) if value == math.floor(value) else f"{value:,.3f}"
    return f"{number} {unit}" if unit not in _UNSPELLED_UNITS else number


def moment(stamp: Timestamp) -> datetime:
    """Return the instant of a message's timestamp."""
    micros = to_micros(stamp)
    if micros is None:
        raise ValueError("a service answered with a time outside the years 1 to 9999")
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def date_of(stamp: Timestamp, zone: tzinfo) -> date:
    """Return the local date of a message's timestamp."""
    return moment(stamp).astimezone(zone).date()


def day(value: date) -> str:
    """Return a day: Fri 9 Dec 2011."""
    return f"{value:%a} {value.day} {value:%b %Y}"


def day_and_month(value: date) -> str:
    """Return a day without its year: 9 Dec."""
    return f"{value.day} {value:%b}"


def span(first: date, last: date) -> str:
    """Return days from one to another: 9 Nov to 9 Dec 2011, or a single one: Fri 9 Dec 2011."""
    return day(first) if first == last else f"{day_and_month(first)} to {day_and_month(last)} {last.year}"


def time_of(instant: datetime, zone: tzinfo) -> str:
    """Return an instant in a zone: 9 Dec 2011, 12:50:00."""
    local = instant.astimezone(zone)
    return f"{day_and_month(local)} {local:%Y, %H:%M:%S}"


def exact_time(instant: datetime, zone: tzinfo) -> str:
    """Return an instant in a zone as ISO 8601 with its offset and all its digits."""
    return instant.astimezone(zone).isoformat()
