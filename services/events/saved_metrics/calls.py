"""The calls of EventsService about saved metrics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import orjson
from brain.events.v1 import saved_metrics_pb2 as pb

from services.events.growth import attainment, change
from services.events.saved_metrics.points import ListedPoint, PointListing, SavedPoint, list_points, save
from shared.audit import AuditEntry, record
from shared.calendar import Interval
from shared.calls import current_caller
from shared.intervals import EARLIEST, LATEST, within_years
from shared.pagination import decode_token, encode_token
from shared.timestamps import from_micros
from shared.validation import Violations, chosen, instant, optional_range, page_size, text

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Engine

MAXIMUM_POINTS = 500
MAXIMUM_NAME = 200
MAXIMUM_METADATA = 4_096
_PERIODS = {
    pb.METRIC_PERIOD_HOURLY: Interval.HOUR,
    pb.METRIC_PERIOD_DAILY: Interval.DAY,
    pb.METRIC_PERIOD_WEEKLY: Interval.WEEK,
    pb.METRIC_PERIOD_MONTHLY: Interval.MONTH,
}
_PERIOD_NUMBERS = {period: number for number, period in _PERIODS.items()}


@dataclass(frozen=True)
class SavedMetricCalls:
    """Saves points and lists them."""

    engine: "Engine"
    clock: Callable[[], int]

    def SaveMetric(
        self, request: pb.SaveMetricRequest, context: "grpc.ServicerContext"
    ) -> pb.SaveMetricResponse:
        """Save points, all or none."""
        points = _points(request)
        with self.engine.begin() as connection:
            created, replaced = save(connection, points, self.clock())
            for name in sorted({point.name for point in points}):
                record(connection, _audited(name, points))
        return pb.SaveMetricResponse(created=created, replaced=replaced)

    def GetMetrics(
        self, request: pb.GetMetricsRequest, context: "grpc.ServicerContext"
    ) -> pb.GetMetricsResponse:
        """List saved points."""
        listing = _listing(request)
        found = list_points(self.engine, listing)
        page, rest = found[: listing.limit - 1], found[listing.limit - 1 :]
        token = encode_token(request, _position(page[-1].point)) if rest else ""
        return pb.GetMetricsResponse(metrics=[_message(each) for each in page], next_page_token=token)


def _points(request: pb.SaveMetricRequest) -> list[SavedPoint]:
    violations = Violations()
    if not 0 < len(request.points) <= MAXIMUM_POINTS:
        violations.add("points", f"must hold 1 to {MAXIMUM_POINTS}")
        violations.raise_if_any()
    points: dict[tuple[str, Interval, int], SavedPoint] = {}
    for index, message in enumerate(request.points):
        point = _point(violations, f"points[{index}]", message)
        if points.setdefault((point.name, point.period, point.time), point) is not point:
            violations.add(f"points[{index}]", "has the name, period and point_time of one before it")
    violations.raise_if_any()
    return list(points.values())


def _point(violations: Violations, path: str, message: pb.MetricPointToSave) -> SavedPoint:
    time = None
    if message.HasField("point_time"):
        time = instant(violations, f"{path}.point_time", message.point_time)
        if time is not None and not EARLIEST <= time < LATEST:
            violations.add(f"{path}.point_time", "must lie between 1970 and 2100")
    else:
        violations.add(f"{path}.point_time", "is required")
    if not message.HasField("value"):
        violations.add(f"{path}.value", "is required")
    for field, number in (("value", message.value), ("target", message.target)):
        if not math.isfinite(number):
            violations.add(f"{path}.{field}", "must be finite")
    return SavedPoint(
        name=text(violations, f"{path}.name", message.name, maximum=MAXIMUM_NAME),
        period=chosen(violations, f"{path}.period", message.period, _PERIODS),
        time=time or 0,
        value=message.value,
        target=message.target if message.HasField("target") else None,
        metadata_json=_metadata(violations, f"{path}.metadata_json", message.metadata_json),
    )


def _metadata(violations: Violations, field: str, metadata: str) -> str:
    if "\0" in metadata:
        violations.add(field, "must not contain NUL")
    elif len(metadata.encode()) > MAXIMUM_METADATA:
        violations.add(field, f"must be at most {MAXIMUM_METADATA:,} bytes")
    elif metadata:
        try:
            is_object = isinstance(orjson.loads(metadata), dict)
        except orjson.JSONDecodeError:
            is_object = False
        if not is_object:
            violations.add(field, "must be a JSON object")
    return metadata


def _audited(name: str, points: Sequence[SavedPoint]) -> AuditEntry:
    own = [point for point in points if point.name == name]
    return AuditEntry(current_caller().subject, "SaveMetric", name, {"points": len(own)})


def _listing(request: pb.GetMetricsRequest) -> PointListing:
    violations = Violations()
    asked = optional_range(violations, "time_range", request)
    period = chosen(violations, "period", request.period, _PERIODS) if request.period else None
    after = decode_token(violations, request, request.page_token, (str, int, int))
    if after and not (after[1] in _PERIODS and EARLIEST <= cast("int", after[2]) < LATEST):
        violations.add("page_token", "is not a token of this request")
    listing = PointListing(
        name=text(violations, "name", request.name, maximum=MAXIMUM_NAME, required=False) or None,
        period=period,
        time_range=(EARLIEST, LATEST) if asked is None else within_years(violations, asked),
        limit=page_size(violations, "page_size", request.page_size, default=100, maximum=500) + 1,
        after=cast("tuple[str, int, int]", tuple(after)) if after else None,
    )
    violations.raise_if_any()
    return listing


def _position(point: SavedPoint) -> tuple[str, int, int]:
    return point.name, _PERIOD_NUMBERS[point.period], point.time


def _message(listed: ListedPoint) -> pb.SavedMetric:
    point = listed.point
    changed = change(point.value, listed.previous_value)
    attained = attainment(point.value, point.target)
    return pb.SavedMetric(
        name=point.name,
        period=_PERIOD_NUMBERS[point.period],
        point_time=from_micros(point.time),
        value=point.value,
        target=point.target,
        metadata_json=point.metadata_json,
        saved_time=from_micros(listed.saved_time),
        change_ratio=changed.value,
        change_absent_reason=changed.absent_reason,
        target_attainment_ratio=attained.value,
        target_absent_reason=attained.absent_reason,
    )
