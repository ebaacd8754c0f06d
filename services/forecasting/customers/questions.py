"""What is asked about customers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.forecasting.customers.reading import day_start
from services.forecasting.forecasts.keeping import save_id
from shared.calendar import DAY_MICROS
from shared.intervals import EARLIEST
from shared.pagination import decode_token
from shared.people import who_of
from shared.validation import Violations, instant, page_size, text
from shared.who import Who

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brain.forecasting.v1 import customers_pb2 as pb
    from google.protobuf.timestamp_pb2 import Timestamp

_HORIZON_DAYS = 90
_MAXIMUM_DAYS = 730
_MAXIMUM_EVENTS = 10


@dataclass(frozen=True, slots=True)
class Span:
    """What to look at, [start, end) in Unix µs; `end` is where a day begins, `horizon` is in days."""

    start: int
    end: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Page:
    """Which customers to answer with: one, or those from a rank on."""

    who: Who | None
    first: int
    size: int
    save_id: str


def horizon(violations: Violations, asked: int) -> int:
    """Return how many days ahead."""
    if not 0 <= asked <= _MAXIMUM_DAYS:
        violations.add("horizon_days", f"must be 1 to {_MAXIMUM_DAYS}, or 0 for {_HORIZON_DAYS}")
        return _HORIZON_DAYS
    return asked or _HORIZON_DAYS


def span(
    violations: Violations,
    field: str,
    history: "pb.PurchaseHistory | pb.ContractHistory",
    now: int,
    zone: "ZoneInfo",
) -> tuple[int, int]:
    """Return which days to look at, as [start, end) in Unix microseconds."""
    until = now
    if history.HasField("as_of_time"):
        until = _moment(violations, f"{field}.as_of_time", history.as_of_time, now)
    end = day_start(until, zone)
    start = max(EARLIEST, end - _MAXIMUM_DAYS * DAY_MICROS)
    if history.HasField("start_time"):
        start = _moment(violations, f"{field}.start_time", history.start_time, now)
    if start >= end:
        violations.add(f"{field}.start_time", "must lie before the day of as_of_time")
        return 0, DAY_MICROS
    return start, end


def _moment(violations: Violations, field: str, stamp: "Timestamp", now: int) -> int:
    moment = instant(violations, field, stamp)
    if moment is not None and not EARLIEST < moment <= now:
        violations.add(field, "must lie between 1970 and now")
    return moment if moment is not None and EARLIEST < moment <= now else now


def events(violations: Violations, field: str, names: Sequence[str]) -> None:
    """Check names of events."""
    if not 1 <= len(names) <= _MAXIMUM_EVENTS:
        violations.add(field, f"must be 1 to {_MAXIMUM_EVENTS}")
    for at, name in enumerate(names):
        text(violations, f"{field}[{at}]", name, maximum=200)


def page(violations: Violations, request: "pb.PredictChurnRequest | pb.PredictLifetimeValueRequest") -> Page:
    """Return which customers to answer with."""
    who = who_of(violations, "user", request.user) if request.HasField("user") else None
    size = page_size(violations, "page_size", request.page_size, default=100, maximum=1_000)
    position = decode_token(violations, request, request.page_token, (int,))
    first = position[0] if position else 0
    return Page(
        who,
        first if isinstance(first, int) and first > 0 else 0,
        size,
        save_id(violations, "save_id", request.save_id),
    )
