"""By which property an answer is broken down, and how many of its values fit on a page."""

from typing import TYPE_CHECKING, cast

from services.events import messages
from services.events.reading.by_property import BreakDown
from services.events.reading.counting import GroupPage
from shared.pagination import decode_token
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    from brain.events.v1 import events_pb2 as pb
    from brain.metrics.v1.metrics_pb2 import MetricQuery

    from services.events.domain import Population

MAXIMUM_GROUPS = 1_000
MAXIMUM_METRIC_GROUPS = 100
MAXIMUM_COUNTS = 100_000


def group_page(
    violations: Violations, request: "pb.CountEventsRequest | pb.GetActiveUsersRequest", intervals: int
) -> GroupPage:
    """Return the page of groups that a request asks for, so many counts each."""
    maximum = min(MAXIMUM_GROUPS, MAXIMUM_COUNTS // max(intervals, 1))
    limit = page_size(violations, "page_size", request.page_size, default=min(100, maximum), maximum=maximum)
    after = decode_token(violations, request, request.page_token, (int, str))
    return GroupPage(limit, cast("tuple[int, str]", tuple(after)) if after else None)


def active_break_down(
    violations: Violations, request: "pb.GetActiveUsersRequest", periods: int, population: "Population"
) -> BreakDown | None:
    """Return the break-down of active people, if one is asked for."""
    if request.group_property:
        path = messages.property_path(violations, "group_property", request.group_property)
        return BreakDown(path, group_page(violations, request, periods), population)
    for field in ("page_size", "page_token"):
        if getattr(request, field):
            violations.add(field, "needs group_property")
    return None


def metric_break_down(violations: Violations, query: "MetricQuery", points: int) -> BreakDown | None:
    """Return the break-down of a metric, if one is asked for."""
    if query.group_property:
        maximum = min(MAXIMUM_METRIC_GROUPS, MAXIMUM_COUNTS // max(points, 1))
        default = min(10, maximum)
        limit = page_size(violations, "group_limit", query.group_limit, default=default, maximum=maximum)
        path = messages.property_path(violations, "group_property", query.group_property)
        return BreakDown(path, GroupPage(limit))
    if query.group_limit:
        violations.add("group_limit", "needs group_property")
    return None
