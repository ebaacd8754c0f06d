"""What requests ask of a funnel, checked."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from services.funnels.attribution import Touch
from services.funnels.domain import Population
from services.funnels.rules import Entry
from shared import property_filters
from shared.intervals import INTERVALS, Limit, range_of, units_of
from shared.validation import Violations, chosen, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from services.funnels.domain import Funnel

Scoped = (
    pb.GetFunnelResultsRequest
    | pb.AnalyzeFunnelRequest
    | pb.GetFunnelConversionRequest
    | pb.GetDropoffAnalysisRequest
    | pb.ListStepUsersRequest
)

MAXIMUM_POINTS = 1_000
MAXIMUM_GROUPS = 1_000
ENTRIES = {
    results_pb2.FUNNEL_ENTRY_UNSPECIFIED: Entry.BEST,
    results_pb2.FUNNEL_ENTRY_BEST: Entry.BEST,
    results_pb2.FUNNEL_ENTRY_FIRST: Entry.FIRST,
}
POPULATIONS = {
    results_pb2.FUNNEL_POPULATION_UNSPECIFIED: Population.ACTORS,
    results_pb2.FUNNEL_POPULATION_ACTORS: Population.ACTORS,
    results_pb2.FUNNEL_POPULATION_PEOPLE: Population.PEOPLE,
    results_pb2.FUNNEL_POPULATION_KNOWN: Population.KNOWN,
}
TOUCHES = {
    results_pb2.ATTRIBUTION_UNSPECIFIED: Touch.FIRST,
    results_pb2.ATTRIBUTION_FIRST_TOUCH: Touch.FIRST,
    results_pb2.ATTRIBUTION_LAST_TOUCH: Touch.LAST,
    results_pb2.ATTRIBUTION_STEP: Touch.STEP,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """When attempts begin ([start, end) in Unix µs), which of them may count, and whose."""

    entries: tuple[int, int]
    entry: Entry
    population: Population


@dataclass(frozen=True, slots=True)
class BreakDown:
    """A property, which event says its value, and how many groups to tell."""

    path: str
    touch: Touch
    step: int
    limit: int


def scope(violations: Violations, request: Scoped) -> Scope:
    """Return the scope of a request; the caller raises."""
    return Scope(
        range_of(violations, request),
        chosen(violations, "entry", request.entry, ENTRIES),
        chosen(violations, "population", request.population, POPULATIONS),
    )


def break_down(
    violations: Violations, request: pb.GetFunnelResultsRequest | pb.AnalyzeFunnelRequest, steps: int
) -> BreakDown | None:
    """Return how to break a funnel of some steps down; the caller raises."""
    touch = chosen(violations, "attribution", request.attribution, TOUCHES)
    if not request.group_property:
        for field in ("attribution", "attribution_step", "group_limit"):
            if getattr(request, field):
                violations.add(field, "needs group_property")
        return None
    property_filters.check_path(violations, "group_property", request.group_property)
    if touch is not Touch.STEP and request.attribution_step:
        violations.add("attribution_step", "needs ATTRIBUTION_STEP")
    elif not 0 <= request.attribution_step < max(steps, 1):
        violations.add("attribution_step", "is no step of the funnel")
    limit = request.group_limit or 10
    if not 0 < limit <= MAXIMUM_GROUPS:
        violations.add("group_limit", f"must be 1 to {MAXIMUM_GROUPS:,}, or 0 for 10")
    return BreakDown(request.group_property, touch, request.attribution_step, limit)


def points(
    violations: Violations,
    request: pb.GetFunnelConversionRequest,
    entries: tuple[int, int],
    reporting_zone: "ZoneInfo",
) -> "tuple[list[tuple[int, int]], ZoneInfo]":
    """Return the intervals that the range touches, cut at its edges, and their zone; the caller raises."""
    zone = time_zone(violations, "time_zone", request.time_zone, reporting_zone)
    if not request.interval:
        return [], zone
    interval = chosen(violations, "interval", request.interval, INTERVALS)
    units = units_of(violations, "time_range", entries, interval, zone, Limit(MAXIMUM_POINTS))
    start, end = entries
    return [(max(low, start), min(high, end)) for low, high in units], zone


def step_of(violations: Violations, field: str, step: int, funnel: "Funnel", *, lost: bool) -> None:
    """Check a step; `lost`: people are to be lost before it."""
    if not 0 <= step < len(funnel.steps):
        violations.add(field, "is no step of the funnel")
    elif lost and (step == 0 or funnel.steps[step].is_optional):
        violations.add(field, "nobody is lost before the first step or an optional one")
