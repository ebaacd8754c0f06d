"""What a request asks, checked: every violation of a request is found before any is raised."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID
from zoneinfo import ZoneInfo

from brain.events.v1 import events_pb2 as pb

from services.events import messages
from services.events.break_downs import active_break_down, group_page, metric_break_down
from services.events.domain import Population, Selection, UserKind, Who
from services.events.reading.by_property import BreakDown
from services.events.reading.chunk_revisions import ChunkName
from services.events.reading.counting import GroupPage
from services.events.reading.listing import Listing, Position
from services.events.reading.scanning import Scan
from shared.calendar import (
    Interval,
    day_number,
    day_start,
    local_date,
    to_datetime_utc,
)
from shared.intervals import EARLIEST, INTERVALS, LATEST, Limit, range_of, series_of, units_of, within_years
from shared.pagination import decode_token
from shared.validation import (
    Violations,
    chosen,
    optional_range,
    page_size,
    text,
    time_zone,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from brain.metrics.v1.metrics_pb2 import MetricQuery

    from services.events.reading.cells import Cells

# Ranges may begin with Unix time and end long after any event can.
MAXIMUM_KEY = 2**31
MAXIMUM_PROPERTIES = 20
MAXIMUM_MATCH_SETS = 63
MAXIMUM_USER_KEYS = 1_000
MAXIMUM_RESOLVED = 10_000
TRAILING_DAYS = {Interval.DAY: 1, Interval.WEEK: 7, Interval.MONTH: 30}

Buckets = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class CountQuestion:
    """CountEvents: the intervals (one, the range itself, without an interval), cut at the range's edges."""

    buckets: Buckets
    bucket_ends: tuple[int, ...]
    has_interval: bool
    selection: Selection
    population: Population
    group_by: int
    path: tuple[str, ...]
    page: GroupPage
    zone: ZoneInfo


def count_question(request: pb.CountEventsRequest, reporting_zone: ZoneInfo) -> CountQuestion:
    """Read a CountEventsRequest."""
    violations = Violations()
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    start, end = range_of(violations, request)
    whole: Buckets = ((start, end),)
    if request.interval:
        interval = chosen(violations, "interval", request.interval, INTERVALS)
        whole = units_of(violations, "time_range", (start, end), interval, zone) or whole
    if request.group_by not in pb.CountGroup.values():
        violations.add("group_by", f"has no meaning for the value {request.group_by}")
    question = CountQuestion(
        buckets=tuple((max(low, start), min(high, end)) for low, high in whole),
        bucket_ends=tuple(high for _, high in whole),
        has_interval=bool(request.interval),
        selection=_selection(violations, request),
        population=messages.population(include_sessions=request.include_sessions),
        group_by=request.group_by,
        path=_group_path(violations, request),
        page=group_page(violations, request, len(whole)),
        zone=zone,
    )
    violations.raise_if_any()
    return question


def _group_path(violations: Violations, request: pb.CountEventsRequest) -> tuple[str, ...]:
    if request.group_by == pb.COUNT_GROUP_PROPERTY:
        return messages.property_path(violations, "group_property", request.group_property)
    if request.group_property:
        violations.add("group_property", "needs group_by COUNT_GROUP_PROPERTY")
    return ()


def _selection(violations: Violations, request: "pb.CountEventsRequest | pb.QueryEventsRequest") -> Selection:
    return Selection(
        events=messages.events(violations, request.events),
        categories=_categories(violations, request.category),
        conditions=messages.conditions(violations, "filters", request.filters),
    )


def _categories(violations: Violations, category: str) -> tuple[str, ...] | None:
    return (text(violations, "category", category, maximum=100),) if category else None


@dataclass(frozen=True, slots=True)
class TopQuestion:
    """GetTopEvents."""

    bucket: tuple[int, int]
    selection: Selection
    limit: int


def top_question(request: pb.GetTopEventsRequest) -> TopQuestion:
    """Read a GetTopEventsRequest."""
    violations = Violations()
    question = TopQuestion(
        bucket=range_of(violations, request),
        selection=Selection(categories=_categories(violations, request.category)),
        limit=page_size(violations, "limit", request.limit, default=10, maximum=1000),
    )
    violations.raise_if_any()
    return question


@dataclass(frozen=True, slots=True)
class ActiveQuestion:
    """GetActiveUsers: the periods, and who counts."""

    periods: Buckets
    selection: Selection
    population: Population
    zone: ZoneInfo
    break_down: BreakDown | None

    def people(self, cells: "Cells") -> list[int]:
        """Return how many people of the population there are in each period."""
        return [cell.count(self.population) for cell in cells.merged(len(self.periods))]


def active_question(request: pb.GetActiveUsersRequest, reporting_zone: ZoneInfo, now: int) -> ActiveQuestion:
    """Read a GetActiveUsersRequest."""
    violations = Violations()
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    period = chosen(violations, "period", request.period, messages.PERIODS)
    asked = optional_range(violations, "time_range", request)
    periods: Buckets = ()
    if asked is None:
        today = local_date(now, zone)
        first = today - timedelta(days=TRAILING_DAYS[period] - 1)
        periods = ((day_start(first, zone), day_start(today + timedelta(days=1), zone)),)
    else:
        time_range = within_years(violations, asked)
        periods = units_of(violations, "time_range", time_range, period, zone, Limit(what="periods"))
    if request.include_sessions and request.known_only:
        violations.add("known_only", "cannot be combined with include_sessions")
    question = ActiveQuestion(
        periods,
        Selection(
            events=messages.events(violations, request.events),
            conditions=messages.conditions(violations, "filters", request.filters),
        ),
        population := messages.population(
            include_sessions=request.include_sessions, known_only=request.known_only
        ),
        zone,
        active_break_down(violations, request, len(periods), population),
    )
    violations.raise_if_any()
    return question


def _position(violations: Violations, keys: "Sequence[str | int | None]") -> Position | None:
    """Return the position of a token; one that no answer contained is a violation."""
    time, user_key, event_id = keys
    try:
        position = Position(int(time or 0), int(user_key or 0), str(UUID(str(event_id))))
    except ValueError:
        position = Position(-1, 0, "")
    if not (EARLIEST <= position.time <= LATEST and 0 <= position.user_key < MAXIMUM_KEY):
        violations.add("page_token", "is not a token of this request")
        return None
    return position


@dataclass(frozen=True, slots=True)
class ListQuestion:
    """QueryEvents: the listing, and whose events."""

    listing: Listing
    people: tuple[Who, ...]


def list_question(request: pb.QueryEventsRequest) -> ListQuestion:
    """Read a QueryEventsRequest."""
    violations = Violations()
    asked = optional_range(violations, "time_range", request)
    if request.order not in pb.EventOrder.values():
        violations.add("order", f"has no meaning for the value {request.order}")
    people = [
        (kind, text(violations, field, name, maximum=200))
        for field, kind, name in (
            ("user_id", UserKind.USER, request.user_id),
            ("anonymous_id", UserKind.ANONYMOUS, request.anonymous_id),
        )
        if name
    ]
    after = decode_token(violations, request, request.page_token, (int, int, str))
    listing = Listing(
        selection=_selection(violations, request),
        session_id=text(violations, "session_id", request.session_id, maximum=200, required=False) or None,
        time_range=None if asked is None else within_years(violations, asked),
        newest_first=request.order != pb.EVENT_ORDER_OLDEST_FIRST,
        limit=page_size(violations, "page_size", request.page_size, default=100, maximum=1000),
        after=_position(violations, after) if after else None,
    )
    violations.raise_if_any()
    return ListQuestion(listing, tuple(people))


def scan_question(request: pb.ScanEventsRequest) -> tuple[Scan, dict[ChunkName, int]]:
    """Read a ScanEventsRequest: what to scan, and the revisions the caller holds."""
    violations = Violations()
    names = messages.events(violations, request.events, required=True) or ()
    start, end = range_of(violations, request)
    if len(request.properties) > MAXIMUM_PROPERTIES:
        violations.add("properties", f"at most {MAXIMUM_PROPERTIES}")
    if len(request.match_sets) > MAXIMUM_MATCH_SETS:
        violations.add("match_sets", f"at most {MAXIMUM_MATCH_SETS}")
    if len(request.user_keys) > MAXIMUM_USER_KEYS or min(request.user_keys, default=1) < 1:
        violations.add("user_keys", f"at most {MAXIMUM_USER_KEYS:,}, each above 0")
    scan = Scan(
        events=tuple(dict.fromkeys(names)),
        days=(
            day_number(to_datetime_utc(start).date()),
            day_number(to_datetime_utc(max(start, end - 1)).date()) + 1,
        ),
        selection=Selection(names, conditions=messages.conditions(violations, "filters", request.filters)),
        with_value=request.with_value,
        properties=tuple(
            messages.property_path(violations, f"properties[{index}]", path)
            for index, path in enumerate(request.properties)
        ),
        match_sets=tuple(
            messages.conditions(violations, f"match_sets[{index}].filters", each.filters)
            for index, each in enumerate(request.match_sets[:MAXIMUM_MATCH_SETS])
        ),
        user_keys=tuple(request.user_keys),
    )
    violations.raise_if_any()
    return scan, {(chunk.event, chunk.day): chunk.revision for chunk in request.known_chunks}


@dataclass(frozen=True, slots=True)
class MetricQuestion:
    """One series: whole intervals that begin in the range."""

    intervals: Buckets
    interval: Interval
    zone: ZoneInfo
    break_down: BreakDown | None


def metric_question(
    violations: Violations, query: "MetricQuery", allowed: "Sequence[Interval]", reporting_zone: ZoneInfo
) -> MetricQuestion:
    """Read the intervals of a MetricQuery; the caller raises."""
    series = series_of(violations, query, allowed, reporting_zone)
    broken_down = metric_break_down(violations, query, len(series.units))
    return MetricQuestion(series.units, series.interval, series.zone, broken_down)
