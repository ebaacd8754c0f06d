"""The calls that find anomalies."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.forecasting.v1 import anomalies_pb2 as pb

from services.forecasting.anomalies import messages
from services.forecasting.anomalies.detection import Method
from services.forecasting.series import grid_of, units_before
from services.forecasting.sources import Sources
from shared.calendar import Interval
from shared.intervals import INTERVALS, Limit, range_of, units_of
from shared.validation import Violations, chosen, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc

# Points read before those that are asked about: to learn from, and to count alerts of.
LEARNT_FROM = {Interval.HOUR: 24 * 7 * 8, Interval.DAY: 365, Interval.WEEK: 156, Interval.MONTH: 60}
_SHOWN = 90
_MAXIMUM_SHOWN = 2_000


@dataclass(frozen=True)
class AnomalyCalls:
    """Finds anomalies in points and in metrics."""

    sources: Sources
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def DetectSeriesAnomalies(
        self, request: pb.DetectSeriesAnomaliesRequest, context: "grpc.ServicerContext"
    ) -> pb.DetectSeriesAnomaliesResponse:
        """Judge the points of the request."""
        violations = Violations()
        zone = time_zone(violations, "time_zone", request.time_zone, self.reporting_zone)
        interval = chosen(violations, "interval", request.interval, INTERVALS)
        grid = grid_of(violations, request.points, interval, zone)
        asked = messages.judging(violations, "options", request.options)
        violations.raise_if_any()
        found = messages.judge(grid, asked, is_count=request.is_count)
        return pb.DetectSeriesAnomaliesResponse(found=messages.to_message(grid, found, asked.threshold, 0))

    def DetectAnomalies(
        self, request: pb.DetectAnomaliesRequest, context: "grpc.ServicerContext"
    ) -> pb.DetectAnomaliesResponse:
        """Judge the points of a metric."""
        violations = Violations()
        key = self.sources.key(violations, "metric", request.metric)
        asked = messages.judging(violations, "options", request.options)
        now = self.clock()
        if request.HasField("time_range"):
            start, end = range_of(violations, request)
            limit = Limit(_MAXIMUM_SHOWN, "points")
            shown = units_of(violations, "time_range", (start, end), key.interval, key.zone, limit)
            shown = tuple(unit for unit in shown if unit[0] >= start and unit[1] <= now)
        else:
            shown = units_before(now, _SHOWN, key.interval, key.zone)
        violations.raise_if_any()
        unit = self.sources.descriptor(key).unit
        if not shown:
            return pb.DetectAnomaliesResponse(
                found=pb.Anomalies(threshold=asked.threshold, reason="no interval of the range is over"),
                time_zone=key.zone.key,
            )
        learnt = units_before(shown[0][0], LEARNT_FROM[key.interval], key.interval, key.zone)
        # The plain z-score knows no past: its points are those that are shown.
        units = shown if asked.method is Method.ZSCORE else (*learnt, *shown)
        grid = self.sources.read(key, units, "metric").begun()
        found = messages.judge(grid, asked, is_count=messages.counts(unit, grid.values.tolist()))
        return pb.DetectAnomaliesResponse(
            found=messages.to_message(grid, found, asked.threshold, shown[0][0]), time_zone=key.zone.key
        )
