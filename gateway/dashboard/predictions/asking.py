"""What the tab Predictions is asked for, and the questions that this makes for the service."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.forecasting.v1 import anomalies_pb2, customers_pb2, forecasts_pb2, predictions_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.dashboard.page import formats, scope
from shared import validation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brain.events.v1.events_pb2 import TopEvent
    from brain.metrics.v1.metrics_pb2 import MetricDescriptor

    from gateway.dashboard.page.scope import Scope
    from shared.validation import Violations

INTERVALS: Final = {"": "days", "week": "weeks", "month": "months"}
SENSITIVITIES: Final = {"": "3 deviations", "high": "2.5 deviations", "low": "4 deviations"}
HORIZONS: Final = {"": "as usual", "7": "7", "14": "14", "30": "30", "60": "60", "90": "90"}
CUSTOMER_DAYS: Final = {"30": "30 days", "": "90 days", "180": "180 days", "365": "365 days"}
DEFAULT_METRIC: Final = "revenue"
SOURCE: Final = "events"
TOP_CUSTOMERS: Final = 10

_INTERVALS: Final = {
    "": common_pb2.INTERVAL_DAY,
    "week": common_pb2.INTERVAL_WEEK,
    "month": common_pb2.INTERVAL_MONTH,
}
_SENSITIVITIES: Final = {
    "": anomalies_pb2.SENSITIVITY_MEDIUM,
    "high": anomalies_pb2.SENSITIVITY_HIGH,
    "low": anomalies_pb2.SENSITIVITY_LOW,
}
_CUSTOMER_DAYS: Final = 90
_EVENT: Final = "event"
# Fewer points show no shape.
_LEAST_POINTS: Final = 14
_LONGEST_DAYS: Final = {"": 1, "week": 7, "month": 31}
_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Choice:
    """What is forecast, and whose purchases. It lives in the page's address; empty stands for the usual."""

    metric: str = DEFAULT_METRIC
    # Of metrics that need one.
    event: str = ""
    interval: str = ""
    horizon: str = ""
    sensitivity: str = ""
    # The event that is a purchase.
    bought: str = ""
    days: str = ""

    def parameters(self) -> dict[str, str]:
        """Return what makes the same choice again, in an address."""
        given = {
            "metric": "" if self.metric == DEFAULT_METRIC else self.metric,
            "event": self.event,
            "interval": self.interval,
            "horizon": self.horizon,
            "sensitivity": self.sensitivity,
            "bought": self.bought,
            "days": self.days,
        }
        return {name: value for name, value in given.items() if value}

    @property
    def labels(self) -> dict[str, str]:
        """What the metric needs to know."""
        return {_EVENT: self.event} if self.event else {}

    @property
    def customer_days(self) -> int:
        """How far ahead customers are looked at."""
        return int(self.days or _CUSTOMER_DAYS)

    def buying(self, bought: str) -> "Choice":
        """Return the choice with the event that is a purchase."""
        return replace(self, bought=bought)


@dataclass(frozen=True, slots=True)
class Offered:
    """Metrics to choose from by name, those of them that need an event, and the events."""

    metrics: tuple[str, ...]
    of_events: frozenset[str]
    events: tuple[str, ...]


def read(violations: "Violations", parameters: Mapping[str, str]) -> Choice:
    """Read the choice of an address."""
    known = {
        "interval": INTERVALS,
        "horizon": HORIZONS,
        "sensitivity": SENSITIVITIES,
        "days": CUSTOMER_DAYS,
    }
    for name, values in known.items():
        if parameters.get(name, "") not in values:
            violations.add(name, f"must be one of {', '.join(filter(None, values))}, or absent")
    metric, event, bought = (
        validation.text(violations, name, parameters.get(name, ""), maximum=200, required=False)
        for name in ("metric", "event", "bought")
    )
    interval, horizon, sensitivity, days = (parameters.get(name, "") for name in known)
    return Choice(metric or DEFAULT_METRIC, event, interval, horizon, sensitivity, bought, days)


def offered(metrics: "Iterable[MetricDescriptor]", events: "Iterable[TopEvent]") -> Offered:
    """Return what can be chosen: metrics of days that need nothing, or an event."""
    daily = [one for one in metrics if common_pb2.INTERVAL_DAY in one.intervals]
    plain = [one.name for one in daily if not one.required_labels]
    of_events = [one.name for one in daily if list(one.required_labels) == [_EVENT]]
    return Offered((*plain, *of_events), frozenset(of_events), tuple(one.event for one in events))


def settled(choice: Choice, found: Offered) -> Choice:
    """Return the choice with the most frequent event where one is needed, and without where it is not."""
    if choice.metric in found.of_events:
        event = choice.event or next(iter(found.events), "")
    else:
        event = "" if choice.metric in found.metrics else choice.event
    return replace(choice, event=event)


def purchases(events: "Iterable[TopEvent]") -> str:
    """Return the event that earns most, empty where none does."""
    earning = max(events, key=lambda one: one.value_sum, default=None)
    return earning.event if earning is not None and earning.value_sum > 0 else ""


def as_of(shown: "Scope") -> Timestamp | None:
    """Return the end of the days shown where it has passed, so that the page tells what was known then."""
    if shown.last >= shown.today:
        return None
    end = datetime.combine(shown.last + timedelta(days=1), time.min, shown.zone)
    stamp = Timestamp()
    stamp.FromDatetime(end.astimezone(UTC).replace(tzinfo=None))
    return stamp


def reference(choice: Choice, shown: "Scope") -> forecasts_pb2.MetricReference:
    """Return the metric that is asked about."""
    return forecasts_pb2.MetricReference(
        source=SOURCE,
        name=choice.metric,
        labels=choice.labels,
        interval=_INTERVALS[choice.interval],
        time_zone=shown.zone.key,
    )


def forecast(choice: Choice, shown: "Scope", save_id: str = "") -> forecasts_pb2.ForecastMetricRequest:
    """Return the question for the forecast; with `save_id` it is kept."""
    return forecasts_pb2.ForecastMetricRequest(
        metric=reference(choice, shown),
        options=forecasts_pb2.MetricForecastOptions(
            options=forecasts_pb2.ForecastOptions(horizon=int(choice.horizon or 0)),
            as_of_time=as_of(shown),
            save_id=save_id,
        ),
    )


def anomalies(choice: Choice, shown: "Scope") -> anomalies_pb2.DetectAnomaliesRequest:
    """Return the question for what was out of the ordinary, on as many days as the chart has."""
    days = max(shown.days, _LEAST_POINTS * _LONGEST_DAYS[choice.interval])
    first = shown.last - timedelta(days=days - 1)
    return anomalies_pb2.DetectAnomaliesRequest(
        metric=reference(choice, shown),
        time_range=scope.days_range(first, shown.last, shown.zone),
        options=anomalies_pb2.AnomalyOptions(sensitivity=_SENSITIVITIES[choice.sensitivity]),
    )


def _selection(choice: Choice, shown: "Scope") -> predictions_pb2.PredictionSelection:
    return predictions_pb2.PredictionSelection(
        source=SOURCE,
        metric=choice.metric,
        labels=choice.labels,
        interval=_INTERVALS[choice.interval],
        time_range=shown.time_range(),
    )


def kept(choice: Choice, shown: "Scope") -> predictions_pb2.ListPredictionsRequest:
    """Return the question for predictions about the days shown whose actual value is known."""
    return predictions_pb2.ListPredictionsRequest(
        selection=_selection(choice, shown), only_with_actual=True, page_size=_KEPT
    )


def accuracy(choice: Choice, shown: "Scope") -> predictions_pb2.GetPredictionAccuracyRequest:
    """Return the question how good they were."""
    return predictions_pb2.GetPredictionAccuracyRequest(
        selection=_selection(choice, shown), join_horizons=True
    )


def _history(event: str, shown: "Scope") -> customers_pb2.PurchaseHistory:
    return customers_pb2.PurchaseHistory(events=[event], as_of_time=as_of(shown))


def churn(choice: Choice, shown: "Scope") -> customers_pb2.PredictChurnRequest:
    """Return the question who leaves."""
    return customers_pb2.PredictChurnRequest(
        purchases=_history(choice.bought, shown),
        horizon_days=choice.customer_days,
        page_size=TOP_CUSTOMERS,
    )


def value(choice: Choice, shown: "Scope") -> customers_pb2.PredictLifetimeValueRequest:
    """Return the question who will spend what."""
    return customers_pb2.PredictLifetimeValueRequest(
        purchases=_history(choice.bought, shown),
        horizon_days=choice.customer_days,
        page_size=TOP_CUSTOMERS,
    )


def label(start: datetime, interval: str, shown: "Scope") -> str:
    """Return how an interval is called under a chart."""
    local = start.astimezone(shown.zone)
    return f"{local:%b %Y}" if interval == "month" else formats.day_and_month(local)


def full_label(start: datetime, interval: str, shown: "Scope") -> str:
    """Return how an interval is called where there is room."""
    local = start.astimezone(shown.zone)
    if interval == "month":
        return f"{local:%B %Y}"
    return f"{'week of ' if interval else ''}{formats.day(local.date())}"
