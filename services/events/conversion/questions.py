"""What a GetConversionRate request asks, checked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.events.v1 import conversion_pb2 as pb

from services.events import messages
from services.events.conversion.steps import Conversion
from services.events.domain import Population
from services.events.reading.column_cache import Step
from services.events.reading.counting import GroupPage
from shared.calendar import MICROS
from shared.intervals import INTERVALS, range_of, units_of
from shared.pagination import decode_token
from shared.validation import Violations, chosen, page_size, text, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from services.events.questions import Buckets

MAXIMUM_GROUPS = 1_000
MAXIMUM_RATES = 100_000
DEFAULT_WINDOW_MINUTES = 60
MAXIMUM_WINDOW_MINUTES = 366 * 24 * 60
MINUTE = 60 * MICROS
_MAXIMUM_NAME = 200
_POPULATIONS = {
    pb.CONVERSION_POPULATION_UNSPECIFIED: Population.ACTORS,
    pb.CONVERSION_POPULATION_ACTORS: Population.ACTORS,
    pb.CONVERSION_POPULATION_PEOPLE: Population.PEOPLE,
    pb.CONVERSION_POPULATION_KNOWN: Population.KNOWN,
}
_IS_FIRST_ONLY = {
    pb.CONVERSION_ENTRY_UNSPECIFIED: False,
    pb.CONVERSION_ENTRY_BEST: False,
    pb.CONVERSION_ENTRY_FIRST: True,
}


@dataclass(frozen=True, slots=True)
class ConversionQuestion:
    """A conversion, the points (none without an interval) and the page of groups (None: no break-down)."""

    conversion: Conversion
    window_minutes: int
    points: "Buckets"
    page: GroupPage | None
    zone: "ZoneInfo"


def conversion_question(
    request: pb.GetConversionRateRequest, reporting_zone: "ZoneInfo"
) -> ConversionQuestion:
    """Read a GetConversionRateRequest."""
    violations = Violations()
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    time_range = range_of(violations, request)
    points = _points(violations, request, time_range, zone)
    minutes = _window_minutes(violations, request.window_minutes)
    start, end = (
        Step(
            text(violations, f"{side}_event", getattr(request, f"{side}_event"), maximum=_MAXIMUM_NAME),
            messages.conditions(violations, f"{side}_filters", getattr(request, f"{side}_filters")),
            _path(violations, request) if side == "start" else None,
        )
        for side in ("start", "end")
    )
    conversion = Conversion(
        start=start,
        end=end,
        window=minutes * MINUTE,
        time_range=time_range,
        population=chosen(violations, "population", request.population, _POPULATIONS),
        first_only=chosen(violations, "entry", request.entry, _IS_FIRST_ONLY),
    )
    page = _page(violations, request, max(len(points), 1))
    violations.raise_if_any()
    return ConversionQuestion(conversion, minutes, points, page, zone)


def _points(
    violations: Violations,
    request: pb.GetConversionRateRequest,
    time_range: tuple[int, int],
    zone: "ZoneInfo",
) -> "Buckets":
    if not request.interval:
        return ()
    interval = chosen(violations, "interval", request.interval, INTERVALS)
    units = units_of(violations, "time_range", time_range, interval, zone)
    start, end = time_range
    return tuple((max(low, start), min(high, end)) for low, high in units)


def _window_minutes(violations: Violations, asked: int) -> int:
    if 0 <= asked <= MAXIMUM_WINDOW_MINUTES:
        return asked or DEFAULT_WINDOW_MINUTES
    violations.add(
        "window_minutes", f"must be 1 to {MAXIMUM_WINDOW_MINUTES:,}, or 0 for {DEFAULT_WINDOW_MINUTES}"
    )
    return DEFAULT_WINDOW_MINUTES


def _path(violations: Violations, request: pb.GetConversionRateRequest) -> tuple[str, ...] | None:
    if not request.group_property:
        return None
    return messages.property_path(violations, "group_property", request.group_property)


def _page(violations: Violations, request: pb.GetConversionRateRequest, points: int) -> GroupPage | None:
    if not request.group_property:
        for field in ("page_size", "page_token"):
            if getattr(request, field):
                violations.add(field, "needs group_property")
        return None
    maximum = min(MAXIMUM_GROUPS, MAXIMUM_RATES // points)
    limit = page_size(violations, "page_size", request.page_size, default=min(100, maximum), maximum=maximum)
    after = decode_token(violations, request, request.page_token, (int, str))
    return GroupPage(limit, cast("tuple[int, str]", tuple(after)) if after else None)
