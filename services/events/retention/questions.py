"""What a request about coming back asks, checked: every violation is found before any is raised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from brain.common.v1 import common_pb2
from brain.events.v1 import retention_pb2 as pb

from services.events import messages
from services.events.domain import Population, Selection
from services.events.ingest.batch import MAXIMUM_ID
from services.events.reading.by_property import BreakDown
from services.events.reading.counting import GroupPage
from services.events.retention.grid import Entry, Mode
from shared.calendar import Interval, day_number, local_date
from shared.intervals import INTERVALS, Limit, range_of, units_of
from shared.timestamps import to_micros
from shared.validation import HasTimeRange, Violations, chosen, page_size, text, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brain.common.v1.common_pb2 import PropertyFilter

DEFAULT_OFFSETS = (1, 7, 14, 30)
DEFAULT_GROUPS, MAXIMUM_GROUPS, MAXIMUM_GROUPED_CELLS = 10, 100, 1_000_000
MAXIMUM_OFFSETS, MAXIMUM_OFFSET_DAYS, MAXIMUM_DAYS, MAXIMUM_CELLS = 400, 1_000, 10_000, 200_000

MODES = {
    pb.RETENTION_MODE_UNSPECIFIED: Mode.ON_DAY,
    pb.RETENTION_MODE_ON_DAY: Mode.ON_DAY,
    pb.RETENTION_MODE_ON_OR_AFTER: Mode.ON_OR_AFTER,
}
ENTRIES = {
    pb.RETENTION_ENTRY_UNSPECIFIED: Entry.RECURRING,
    pb.RETENTION_ENTRY_RECURRING: Entry.RECURRING,
    pb.RETENTION_ENTRY_FIRST_EVER: Entry.FIRST_EVER,
}
_WEEKS_AND_MONTHS = {
    common_pb2.INTERVAL_WEEK: Interval.WEEK,
    common_pb2.INTERVAL_MONTH: Interval.MONTH,
}
_DAYS_AND_LONGER = {common_pb2.INTERVAL_DAY: Interval.DAY} | _WEEKS_AND_MONTHS

Bounds = tuple[tuple[int, int], ...]


class _CountsPeople(Protocol):
    @property
    def include_sessions(self) -> bool: ...

    @property
    def known_only(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class RetentionQuestion:
    """GetRetention: the cohorts as instants and as day numbers, and what counts."""

    periods: Bounds
    cohorts: Bounds
    starts: Selection
    returns: Selection
    offsets: tuple[int, ...]
    mode: Mode
    entry: Entry
    population: Population
    zone: "ZoneInfo"
    break_down: BreakDown | None


def retention_question(
    request: pb.GetRetentionRequest, reporting_zone: "ZoneInfo", now: int
) -> RetentionQuestion:
    """Read a GetRetentionRequest."""
    violations = Violations()
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    interval = _interval(violations, request.interval, _DAYS_AND_LONGER)
    periods = _periods(violations, request, interval, zone)
    if periods and (to_micros(request.time_range.start_time) or 0) > now:
        violations.add("time_range.start_time", "lies in the future: nobody can have entered")
    cohorts = tuple((day_of(low, zone), day_of(high, zone)) for low, high in periods)
    offsets = _offsets(violations, request.offset_days)
    if cohorts:
        _check_cells(violations, cohorts[-1][1] - cohorts[0][0], len(offsets))
    question = RetentionQuestion(
        periods=periods,
        cohorts=cohorts,
        starts=start_selection(violations, request.start_event, request.start_filters),
        returns=Selection(
            events=_return_events(violations, request.return_events),
            conditions=messages.conditions(violations, "return_filters", request.return_filters),
        ),
        offsets=offsets,
        mode=chosen(violations, "mode", request.mode, MODES),
        entry=chosen(violations, "entry", request.entry, ENTRIES),
        population=_population(violations, request),
        zone=zone,
        break_down=_break_down(violations, request, cohorts, len(offsets)),
    )
    violations.raise_if_any()
    return question


def _break_down(
    violations: Violations, request: pb.GetRetentionRequest, cohorts: Bounds, offsets: int
) -> BreakDown | None:
    if not request.group_property:
        if request.group_limit:
            violations.add("group_limit", "needs group_property")
        return None
    path = messages.property_path(violations, "group_property", request.group_property)
    limit = page_size(
        violations, "group_limit", request.group_limit, default=DEFAULT_GROUPS, maximum=MAXIMUM_GROUPS
    )
    if cohorts and (cohorts[-1][1] - cohorts[0][0]) * offsets * limit > MAXIMUM_GROUPED_CELLS:
        reason = f"is too large: days times offsets times values may be {MAXIMUM_GROUPED_CELLS:,}"
        violations.add("group_limit", reason)
    return BreakDown(path, GroupPage(limit + 1))  # one more tells whether there are more


@dataclass(frozen=True, slots=True)
class PeriodQuestion:
    """GetLifecycle and GetStickiness: the periods, and what counts."""

    periods: Bounds
    interval: Interval
    selection: Selection
    population: Population
    zone: "ZoneInfo"


def lifecycle_question(request: pb.GetLifecycleRequest, reporting_zone: "ZoneInfo") -> PeriodQuestion:
    """Read a GetLifecycleRequest."""
    violations = Violations()
    interval = _interval(violations, request.interval, _DAYS_AND_LONGER)
    question = _period_question(violations, request, interval, reporting_zone)
    violations.raise_if_any()
    return question


def stickiness_question(request: pb.GetStickinessRequest, reporting_zone: "ZoneInfo") -> PeriodQuestion:
    """Read a GetStickinessRequest."""
    violations = Violations()
    interval = _interval(violations, request.interval, _WEEKS_AND_MONTHS)
    question = _period_question(violations, request, interval, reporting_zone)
    if question.periods:
        first, after = question.periods[0][0], question.periods[-1][1]
        units_of(violations, "time_range", (first, after), Interval.DAY, question.zone, Limit(what="days"))
    violations.raise_if_any()
    return question


def _period_question(
    violations: Violations,
    request: pb.GetLifecycleRequest | pb.GetStickinessRequest,
    interval: Interval,
    reporting_zone: "ZoneInfo",
) -> PeriodQuestion:
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    return PeriodQuestion(
        periods=_periods(violations, request, interval, zone),
        interval=interval,
        selection=Selection(
            events=messages.events(violations, request.events),
            conditions=messages.conditions(violations, "filters", request.filters),
        ),
        population=_population(violations, request),
        zone=zone,
    )


def day_of(micros: int, zone: "ZoneInfo") -> int:
    """Return the number of the local day of an instant."""
    return day_number(local_date(micros, zone))


def start_selection(
    violations: Violations, event: str, filters: "Sequence[PropertyFilter]", prefix: str = ""
) -> Selection:
    """Return which start events let in; an empty name is any event."""
    if event:
        text(violations, f"{prefix}start_event", event, maximum=MAXIMUM_ID)
    conditions = messages.conditions(violations, f"{prefix}start_filters", filters)
    return Selection(events=(event,) if event else None, conditions=conditions)


def _interval(violations: Violations, number: int, choices: Mapping[Any, Interval]) -> Interval:
    if number == common_pb2.INTERVAL_HOUR or (number in INTERVALS and number not in choices):
        names = ", ".join(each.name.lower() for each in choices.values())
        violations.add("interval", f"must be one of {names}")
        return next(iter(choices.values()))
    return chosen(violations, "interval", number, choices)


def _periods(violations: Violations, request: HasTimeRange, interval: Interval, zone: "ZoneInfo") -> Bounds:
    """Return the whole periods that the range touches; none, and a violation, where it makes no sense."""
    start, end = range_of(violations, request)
    if start == end:
        return ()
    return units_of(violations, "time_range", (start, end), interval, zone, Limit(what="periods"))


def _offsets(violations: Violations, asked: Sequence[int]) -> tuple[int, ...]:
    if len(asked) > MAXIMUM_OFFSETS:
        violations.add("offset_days", f"at most {MAXIMUM_OFFSETS}")
        return DEFAULT_OFFSETS
    for index, offset in enumerate(asked):
        if not 0 <= offset <= MAXIMUM_OFFSET_DAYS:
            violations.add(f"offset_days[{index}]", f"must be 0 to {MAXIMUM_OFFSET_DAYS:,}")
    return tuple(sorted(set(asked))) or DEFAULT_OFFSETS


def _check_cells(violations: Violations, days: int, offsets: int) -> None:
    if days > MAXIMUM_DAYS:
        violations.add("time_range", f"is too wide: at most {MAXIMUM_DAYS:,} days")
    elif days * offsets > MAXIMUM_CELLS:
        violations.add(
            "time_range", f"is too wide: days times offsets may be {MAXIMUM_CELLS:,}, with {offsets} offsets"
        )


def _return_events(violations: Violations, names: Sequence[str]) -> tuple[str, ...] | None:
    if len(names) > messages.MAXIMUM_EVENTS:
        violations.add("return_events", f"at most {messages.MAXIMUM_EVENTS}")
    for index, name in enumerate(names):
        text(violations, f"return_events[{index}]", name, maximum=MAXIMUM_ID)
    return tuple(names) or None


def _population(violations: Violations, request: _CountsPeople) -> Population:
    if request.include_sessions and request.known_only:
        violations.add("known_only", "cannot be combined with include_sessions")
    return messages.population(include_sessions=request.include_sessions, known_only=request.known_only)
