"""/api/analytics/predictions: what is to come, what was out of the ordinary, who leaves and who spends."""

from typing import TYPE_CHECKING, Final

from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2
from brain.forecasting.v1 import (
    anomalies_pb2,
    customers_pb2,
    forecasting_pb2,
)
from brain.forecasting.v1 import forecasts_pb2 as pb

from gateway.rest.operations import Asked, Operation
from gateway.rest.parameters import Parameter, choice, instant, number, pairs, real, reals, text, texts
from gateway.rest.ranges import END, START, TIME_ZONE, asked_range, is_given
from gateway.rest.reading import stamp
from shared.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from google.protobuf.message import Message

PATH: Final = "/api/analytics/predictions"
SERVICE: Final = forecasting_pb2.DESCRIPTOR.services_by_name["ForecastingService"].full_name
INTERVALS: Final = {
    "hour": common_pb2.INTERVAL_HOUR,
    "day": common_pb2.INTERVAL_DAY,
    "week": common_pb2.INTERVAL_WEEK,
    "month": common_pb2.INTERVAL_MONTH,
}

_INTERVAL = choice("interval", "Length of a point. Default: day.", INTERVALS)
_HORIZON = number(
    "horizon",
    "Points to forecast, at most twice the history's. Default: 30 days, 168 hours, 12 weeks, 6 months.",
    1,
    1_000,
)
_LEVELS = reals("level", "A level of the intervals, 0.0001 to 0.9999; may be repeated. Default: 0.8, 0.95.")
_HISTORY = number(
    "historyPoints",
    "Points of history. Default: 365 days, 84 days of hours, 156 weeks, 60 months.",
    1,
    2_016,
)
_AS_OF = instant("asOfTime", "Now, in place of the clock: tells what would have been said then.")
_HOLIDAYS = texts("holiday", "A day as 2026-12-25 whose effect is learnt; may be repeated.")
_CLOSURES = texts("closure", "A day on which nothing happens; may be repeated.")
_FORECAST = (_INTERVAL, TIME_ZONE, _HORIZON, _LEVELS, _HISTORY, _AS_OF, _HOLIDAYS, _CLOSURES)

_METRIC = text("metric", "The metric: dau, revenue, event_count …", required=True)
_GROWTH = choice(
    "metric",
    "Whom to count. Default: new_users.",
    {name: name for name in ("new_users", "dau", "wau", "mau")},
)
_SOURCE = text("source", "The service that has the metric. Default: events.")
_LABELS = pairs("label", "What the metric needs to know, as event=item_purchased; may be repeated.")
_EVENT = text("event", "Which event.", required=True)

_SENSITIVITY = choice(
    "sensitivity",
    "How far is far: low is 4 deviations, medium 3, high 2.5. Default: medium.",
    {
        "low": anomalies_pb2.SENSITIVITY_LOW,
        "medium": anomalies_pb2.SENSITIVITY_MEDIUM,
        "high": anomalies_pb2.SENSITIVITY_HIGH,
    },
)
_METHOD = choice(
    "method",
    "Distance from what the points before let expect, or from the mean of all. Default: seasonal.",
    {
        "seasonal": anomalies_pb2.ANOMALY_METHOD_SEASONAL,
        "zscore": anomalies_pb2.ANOMALY_METHOD_ZSCORE,
    },
)
_THRESHOLD = real("threshold", "Deviations, in place of the sensitivity's.")

_PURCHASES = texts("event", "An event that is a purchase; may be repeated.")
_CONTRACT_START = text("startEvent", "With endEvent and without event: what begins a contract.")
_CONTRACT_END = text("endEvent", "What ends a contract.")
_DAYS = number("horizonDays", "How far ahead. Default: 90.", 1, 730)
_HISTORY_START = instant("startTime", "From when on to look at purchases. Default: 730 days ago.")
_USER = text("userId", "Only this user. Default: all, a page at a time.")
_LIMIT = number("limit", "Customers on a page. Default: 100.", 1, 1_000)
_PAGE_TOKEN = text("pageToken", "The nextPageToken of the page before, with the same other parameters.")
_CUSTOMERS = (_DAYS, _HISTORY_START, _AS_OF, _USER, _LIMIT, _PAGE_TOKEN)


def _options(asked: Asked) -> pb.MetricForecastOptions:
    given = asked.given
    as_of = given.maybe(_AS_OF)
    return pb.MetricForecastOptions(
        options=pb.ForecastOptions(
            horizon=given.one(_HORIZON, 0), levels=given.every(_LEVELS), calendar=_calendar(asked)
        ),
        history_points=given.one(_HISTORY, 0),
        as_of_time=None if as_of is None else stamp(as_of),
    )


def _calendar(asked: Asked) -> pb.BusinessCalendar:
    return pb.BusinessCalendar(holidays=asked.given.every(_HOLIDAYS), closures=asked.given.every(_CLOSURES))


def _interval(asked: Asked) -> "common_pb2.Interval.ValueType":
    return asked.given.one(_INTERVAL, common_pb2.INTERVAL_DAY)


def _reference(asked: Asked) -> pb.MetricReference:
    return pb.MetricReference(
        source=asked.given.one(_SOURCE, ""),
        name=asked.given.one(_METRIC, ""),
        labels=dict(asked.given.every(_LABELS)),
        interval=_interval(asked),
        time_zone=asked.given.one(TIME_ZONE, ""),
    )


def _metric(asked: Asked) -> pb.ForecastMetricRequest:
    return pb.ForecastMetricRequest(metric=_reference(asked), options=_options(asked))


def _revenue(asked: Asked) -> pb.PredictRevenueRequest:
    return pb.PredictRevenueRequest(
        interval=_interval(asked), time_zone=asked.given.one(TIME_ZONE, ""), options=_options(asked)
    )


def _growth(asked: Asked) -> pb.PredictUserGrowthRequest:
    return pb.PredictUserGrowthRequest(
        metric=asked.given.one(_GROWTH, ""),
        interval=_interval(asked),
        time_zone=asked.given.one(TIME_ZONE, ""),
        options=_options(asked),
    )


def _demand(asked: Asked) -> pb.PredictDemandRequest:
    return pb.PredictDemandRequest(
        event=asked.given.one(_EVENT, ""),
        interval=_interval(asked),
        time_zone=asked.given.one(TIME_ZONE, ""),
        options=_options(asked),
    )


def _anomalies(asked: Asked) -> anomalies_pb2.DetectAnomaliesRequest:
    return anomalies_pb2.DetectAnomaliesRequest(
        metric=_reference(asked),
        time_range=asked_range(asked) if is_given(asked) else None,
        options=anomalies_pb2.AnomalyOptions(
            method=asked.given.one(_METHOD, anomalies_pb2.ANOMALY_METHOD_UNSPECIFIED),
            sensitivity=asked.given.one(_SENSITIVITY, anomalies_pb2.SENSITIVITY_UNSPECIFIED),
            threshold=asked.given.maybe(_THRESHOLD),
            calendar=pb.BusinessCalendar(closures=asked.given.every(_CLOSURES)),
        ),
    )


def _churn(asked: Asked) -> customers_pb2.PredictChurnRequest:
    given = asked.given
    contract = given.maybe(_CONTRACT_START) is not None or given.maybe(_CONTRACT_END) is not None
    if contract and given.every(_PURCHASES):
        raise InvalidArgument(
            [FieldViolation(_PURCHASES.name, "cannot be given with startEvent and endEvent")]
        )
    start, as_of = given.maybe(_HISTORY_START), given.maybe(_AS_OF)
    contracts = customers_pb2.ContractHistory(
        start_event=given.one(_CONTRACT_START, ""),
        end_event=given.one(_CONTRACT_END, ""),
        start_time=None if start is None else stamp(start),
        as_of_time=None if as_of is None else stamp(as_of),
    )
    return customers_pb2.PredictChurnRequest(
        purchases=None if contract else _purchases(asked),
        contracts=contracts if contract else None,
        horizon_days=given.one(_DAYS, 0),
        user=_user(asked),
        page_size=given.one(_LIMIT, 0),
        page_token=given.one(_PAGE_TOKEN, ""),
    )


def _lifetime_value(asked: Asked) -> customers_pb2.PredictLifetimeValueRequest:
    return customers_pb2.PredictLifetimeValueRequest(
        purchases=_purchases(asked),
        horizon_days=asked.given.one(_DAYS, 0),
        user=_user(asked),
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
    )


def _purchases(asked: Asked) -> customers_pb2.PurchaseHistory:
    start, as_of = asked.given.maybe(_HISTORY_START), asked.given.maybe(_AS_OF)
    return customers_pb2.PurchaseHistory(
        events=asked.given.every(_PURCHASES),
        start_time=None if start is None else stamp(start),
        as_of_time=None if as_of is None else stamp(as_of),
    )


def _user(asked: Asked) -> events_pb2.UserReference | None:
    user_id = asked.given.maybe(_USER)
    return None if user_id is None else events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=user_id)


_OF_OPTIONS: Final = {
    "options.options.levels": "level",
    "options.options.calendar.holidays": "holiday",
    "options.options.calendar.closures": "closure",
    "options.options": "",
    "options.calendar.closures": "closure",
    "options": "",
}
_OF_METRIC: Final = {"metric.name": "metric", "metric.labels": "label", "metric": "", **_OF_OPTIONS}
_OF_CUSTOMERS: Final = {
    "purchases.events": "event",
    "purchases": "",
    "contracts": "",
    "user": "userId",
    "user.id": "userId",
    "page_size": "limit",
}


def _get(
    action: str,
    call: str,
    summary: str,
    parameters: "tuple[Parameter[Any], ...]",
    asking: "tuple[Callable[[Asked], Message], dict[str, str]]",
) -> Operation:
    """Return a question; `asking` makes the request and renames what the service finds wrong in it."""
    request, fields = asking
    return Operation("GET", PATH, action, f"{SERVICE}.{call}", summary, parameters, request, fields=fields)


OPERATIONS: Final = (
    _get("revenue", "PredictRevenue", "Forecast revenue.", _FORECAST, (_revenue, _OF_OPTIONS)),
    _get(
        "growth",
        "PredictUserGrowth",
        "Forecast how many people come.",
        (_GROWTH, *_FORECAST),
        (_growth, _OF_OPTIONS),
    ),
    _get(
        "demand",
        "PredictDemand",
        "Forecast how often an event will happen.",
        (_EVENT, *_FORECAST),
        (_demand, _OF_OPTIONS),
    ),
    _get(
        "metric",
        "ForecastMetric",
        "Forecast any metric of any service.",
        (_METRIC, _SOURCE, _LABELS, *_FORECAST),
        (_metric, _OF_METRIC),
    ),
    _get(
        "anomalies",
        "DetectAnomalies",
        "Tell when a metric was out of the ordinary: in a range, or among its last 90 points.",
        (
            *(_METRIC, _SOURCE, _LABELS, _INTERVAL, TIME_ZONE, START, END),
            *(_SENSITIVITY, _METHOD, _THRESHOLD, _CLOSURES),
        ),
        (_anomalies, {"time_range": "", **_OF_METRIC}),
    ),
    _get(
        "churn",
        "PredictChurn",
        "Tell who will buy nothing within the horizon, or whose contract ends.",
        (_PURCHASES, _CONTRACT_START, _CONTRACT_END, *_CUSTOMERS),
        (_churn, _OF_CUSTOMERS),
    ),
    _get(
        "ltv",
        "PredictLifetimeValue",
        "Tell what customers will spend within the horizon.",
        (_PURCHASES, *_CUSTOMERS),
        (_lifetime_value, _OF_CUSTOMERS),
    ),
)
