"""The calls that forecast."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.common.v1 import common_pb2
from brain.forecasting.v1 import forecasts_pb2 as pb

from services.forecasting.forecasts import messages
from services.forecasting.forecasts.keeping import Keeper, save_id
from services.forecasting.forecasts.messages import Question
from services.forecasting.series import Grid, grid_of, units_before
from services.forecasting.sources import EVENTS, MetricKey, Sources
from shared.calendar import Interval
from shared.errors import FailedPrecondition
from shared.intervals import EARLIEST, INTERVALS
from shared.validation import Violations, chosen, instant, text, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc

HISTORIES = {Interval.HOUR: 24 * 84, Interval.DAY: 365, Interval.WEEK: 156, Interval.MONTH: 60}
_MAXIMUM_HISTORY = 2_016
_GROWTH = ("new_users", "dau", "wau", "mau")
_SERIES_FIELDS = {"points": "points", "horizon": "options.horizon", "levels": "options.levels"}
_METRIC_FIELDS = {
    "points": "metric",
    "horizon": "options.options.horizon",
    "levels": "options.options.levels",
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to forecast from: points that ended by a moment in Unix µs; under which id to keep it."""

    question: Question
    history_points: int
    until: int
    save_id: str


@dataclass(frozen=True)
class ForecastCalls:
    """Forecasts points and metrics."""

    sources: Sources
    keeper: Keeper
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def ForecastSeries(
        self, request: pb.ForecastSeriesRequest, context: "grpc.ServicerContext"
    ) -> pb.ForecastSeriesResponse:
        """Forecast the points of the request."""
        violations = Violations()
        zone = time_zone(violations, "time_zone", request.time_zone, self.reporting_zone)
        interval = chosen(violations, "interval", request.interval, INTERVALS)
        bounds = messages.bounds_of_kind(violations, request.value_kind)
        asked = messages.question(violations, "options", request.options)
        grid = grid_of(violations, request.points, interval, zone)
        if not grid.units:
            violations.raise_if_any()
        found = messages.answered(violations, _SERIES_FIELDS, messages.to_series(grid, bounds), asked)
        return pb.ForecastSeriesResponse(forecast=messages.to_message(grid, found))

    def ForecastMetric(
        self, request: pb.ForecastMetricRequest, context: "grpc.ServicerContext"
    ) -> pb.ForecastMetricResponse:
        """Forecast a metric."""
        return self._forecast(request.metric, request.options, "metric")

    def PredictRevenue(
        self, request: pb.PredictRevenueRequest, context: "grpc.ServicerContext"
    ) -> pb.PredictRevenueResponse:
        """Forecast revenue."""
        metric = _of_events("revenue", request.interval, request.time_zone)
        reply = self._forecast(metric, request.options, "")
        return pb.PredictRevenueResponse(forecast=reply.forecast, saved_predictions=reply.saved_predictions)

    def PredictUserGrowth(
        self, request: pb.PredictUserGrowthRequest, context: "grpc.ServicerContext"
    ) -> pb.PredictUserGrowthResponse:
        """Forecast how many people come."""
        name = request.metric or _GROWTH[0]
        if name not in _GROWTH:
            violations = Violations()
            violations.add("metric", f"must be one of {', '.join(_GROWTH)}")
            violations.raise_if_any()
        metric = _of_events(name, request.interval, request.time_zone)
        reply = self._forecast(metric, request.options, "")
        return pb.PredictUserGrowthResponse(
            forecast=reply.forecast, saved_predictions=reply.saved_predictions
        )

    def PredictDemand(
        self, request: pb.PredictDemandRequest, context: "grpc.ServicerContext"
    ) -> pb.PredictDemandResponse:
        """Forecast how often an event will happen."""
        violations = Violations()
        text(violations, "event", request.event, maximum=200)
        violations.raise_if_any()
        metric = _of_events("event_count", request.interval, request.time_zone)
        metric.labels["event"] = request.event
        metric.filters.extend(request.filters)
        reply = self._forecast(metric, request.options, "")
        return pb.PredictDemandResponse(forecast=reply.forecast, saved_predictions=reply.saved_predictions)

    def _forecast(
        self, reference: pb.MetricReference, options: pb.MetricForecastOptions, field: str
    ) -> pb.ForecastMetricResponse:
        violations = Violations()
        key = self.sources.key(violations, field, reference)
        asked = self._asked(violations, options, key.interval)
        violations.raise_if_any()
        descriptor = self.sources.descriptor(key)
        grid = self._history(key, asked, field)
        series = messages.to_series(grid, messages.bounds_of_unit(descriptor.unit))
        found = messages.answered(violations, _METRIC_FIELDS, series, asked.question)
        saved = self.keeper.keep(asked.save_id, key, grid, found) if asked.save_id else 0
        return pb.ForecastMetricResponse(
            forecast=messages.to_message(grid, found), metric=descriptor, saved_predictions=saved
        )

    def _asked(self, violations: Violations, options: pb.MetricForecastOptions, interval: Interval) -> _Asked:
        if not 0 <= options.history_points <= _MAXIMUM_HISTORY:
            violations.add("options.history_points", f"must be 1 to {_MAXIMUM_HISTORY:,}, or 0 for the usual")
        until = self.clock()
        if options.HasField("as_of_time"):
            moment = instant(violations, "options.as_of_time", options.as_of_time)
            if moment is not None and not EARLIEST < moment <= until:
                violations.add("options.as_of_time", "must lie between 1970 and now")
            until = moment or until
            if options.save_id:
                violations.add("options.save_id", "cannot be kept together with as_of_time")
        return _Asked(
            messages.question(violations, "options.options", options.options),
            options.history_points or HISTORIES[interval],
            until,
            save_id(violations, "options.save_id", options.save_id),
        )

    def _history(self, key: MetricKey, asked: _Asked, field: str) -> Grid:
        units = units_before(asked.until, asked.history_points, key.interval, key.zone)
        grid = self.sources.read(key, units, field).begun() if units else None
        if grid is None or grid.is_empty:
            raise FailedPrecondition(
                f"{key.source} has no complete value of {key.query.name} in the last {len(units)} intervals",
                "HISTORY_EMPTY",
            )
        return grid


def _of_events(name: str, interval: common_pb2.Interval.ValueType, zone: str) -> pb.MetricReference:
    asked = interval if interval != common_pb2.INTERVAL_UNSPECIFIED else common_pb2.INTERVAL_DAY
    return pb.MetricReference(source=EVENTS, name=name, interval=asked, time_zone=zone)
