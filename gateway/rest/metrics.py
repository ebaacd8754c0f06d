"""/api/analytics/metrics: numbers made of events, and numbers that callers computed themselves."""

from datetime import timedelta
from typing import Final

from brain.common.v1 import common_pb2
from brain.events.v1 import conversion_pb2, overview_pb2, retention_pb2, saved_metrics_pb2
from brain.events.v1 import events_pb2 as pb

from gateway.rest.operations import Asked, Operation
from gateway.rest.parameters import choice, day, number, numbers, pairs, text, texts
from gateway.rest.ranges import (
    END,
    START,
    TIME_ZONE,
    asked_range,
    asked_zone,
    beginning_of,
    is_given,
    noon,
    refuse_range,
)
from gateway.rest.reading import fill, stamp
from gateway.rest.representation import descriptor_of
from shared.validation import Violations

PATH: Final = "/api/analytics/metrics"
_SERVICE: Final = "brain.events.v1.EventsService"

_ACTIVE_PERIOD = choice(
    "period",
    "How long somebody counts as active: a local day, the 7 or the 30 days ending with it; with a range a "
    "series of calendar days, weeks or months. Default: day.",
    {"day": pb.ACTIVE_PERIOD_DAY, "week": pb.ACTIVE_PERIOD_WEEK, "month": pb.ACTIVE_PERIOD_MONTH},
)
_EVENTS = texts("event", "Only people who did an event of this name; may be repeated. Default: any.")

_INTERVALS: Final = {
    "hour": common_pb2.INTERVAL_HOUR,
    "day": common_pb2.INTERVAL_DAY,
    "week": common_pb2.INTERVAL_WEEK,
    "month": common_pb2.INTERVAL_MONTH,
}
_DAYS_AND_MORE: Final = {name: _INTERVALS[name] for name in ("day", "week", "month")}
_CONVERSION_START = text("startEvent", "The event that begins it.", required=True)
_CONVERSION_END = text("endEvent", "The event that completes it.", required=True)
_WINDOW = number("windowMinutes", "How long it may take. Default: 60.", 1, 527_040)
_POINTS = choice("period", "A point for each hour, day, week or month too. Default: the total.", _INTERVALS)
_PROPERTY = text("property", "A property of the start event to break down by. Default: none.")
_GROUP_LIMIT = number("limit", "Values of the property on a page. Default: 100.", 1, 1_000)
_GROUP_TOKEN = text("pageToken", "The nextPageToken of the page before, with the same other parameters.")

_RETENTION_START = text("startEvent", "The event that lets people in. Default: any.")
_RETURNS = texts("endEvent", "An event that counts as a return; may be repeated. Default: any.")
_COHORTS = choice("period", "How long a cohort is. Default: day.", _DAYS_AND_MORE)
_COHORT_DATE = day("cohortDate", "A day of the one cohort to tell of, instead of startTime and endTime.")
_OFFSETS = numbers("days", "Days after entry; may be repeated. Default: 1, 7, 14 and 30.", 0, 1_000)
_MODE = choice(
    "mode",
    "Whether a return counts on that day alone. Default: on_day.",
    {"on_day": retention_pb2.RETENTION_MODE_ON_DAY, "on_or_after": retention_pb2.RETENTION_MODE_ON_OR_AFTER},
)
_ENTRY = choice(
    "entry",
    "Whether people enter once in each cohort or once ever. Default: recurring.",
    {
        "recurring": retention_pb2.RETENTION_ENTRY_RECURRING,
        "first_ever": retention_pb2.RETENTION_ENTRY_FIRST_EVER,
    },
)

_GROWN = text("metric", "The metric: dau, revenue, event_count …", required=True)
_LABELS = pairs("label", "What the metric needs to know, as event=item_purchased; may be repeated.")
_GROWTH_PERIOD = choice("period", "What is compared with the one before. Default: month.", _DAYS_AND_MORE)
_CURRENT = day(
    "currentPeriod", "A day of the period to compare with the one before. Default: the latest that is over."
)

_SAVED = text("metric", "Only points of this metric. Default: all.")
_SAVED_PERIODS: Final = {
    "hourly": saved_metrics_pb2.METRIC_PERIOD_HOURLY,
    "daily": saved_metrics_pb2.METRIC_PERIOD_DAILY,
    "weekly": saved_metrics_pb2.METRIC_PERIOD_WEEKLY,
    "monthly": saved_metrics_pb2.METRIC_PERIOD_MONTHLY,
}
_SAVED_PERIOD = choice("period", "Only points of this length. Default: any.", _SAVED_PERIODS)
_SAVED_LIMIT = number("limit", "Points on a page. Default: 100.", 1, 500)


def _active_users(asked: Asked) -> pb.GetActiveUsersRequest:
    return pb.GetActiveUsersRequest(
        period=asked.given.one(_ACTIVE_PERIOD, pb.ACTIVE_PERIOD_DAY),
        time_range=asked_range(asked) if is_given(asked) else None,
        time_zone=asked.given.one(TIME_ZONE, ""),
        events=asked.given.every(_EVENTS),
    )


def _conversion(asked: Asked) -> conversion_pb2.GetConversionRateRequest:
    given = asked.given
    return conversion_pb2.GetConversionRateRequest(
        start_event=given.one(_CONVERSION_START, ""),
        end_event=given.one(_CONVERSION_END, ""),
        window_minutes=given.one(_WINDOW, 0),
        time_range=asked_range(asked),
        time_zone=given.one(TIME_ZONE, ""),
        interval=given.one(_POINTS, common_pb2.INTERVAL_UNSPECIFIED),
        group_property=given.one(_PROPERTY, ""),
        page_size=given.one(_GROUP_LIMIT, 0),
        page_token=given.one(_GROUP_TOKEN, ""),
    )


def _retention(asked: Asked) -> retention_pb2.GetRetentionRequest:
    given = asked.given
    request = retention_pb2.GetRetentionRequest(
        start_event=given.one(_RETENTION_START, ""),
        return_events=given.every(_RETURNS),
        interval=given.one(_COHORTS, common_pb2.INTERVAL_DAY),
        offset_days=given.every(_OFFSETS),
        mode=given.one(_MODE, retention_pb2.RETENTION_MODE_UNSPECIFIED),
        entry=given.one(_ENTRY, retention_pb2.RETENTION_ENTRY_UNSPECIFIED),
        time_zone=given.one(TIME_ZONE, ""),
    )
    cohort_date = given.maybe(_COHORT_DATE)
    if cohort_date is None:
        request.time_range.CopyFrom(asked_range(asked))
        return request
    refuse_range(asked, _COHORT_DATE.name)
    zone = asked_zone(asked)
    inside = noon(cohort_date, zone)
    request.time_range.start_time.CopyFrom(stamp(inside))
    request.time_range.end_time.CopyFrom(stamp(inside + timedelta(seconds=1)))
    request.time_zone = zone.key
    return request


def _growth(asked: Asked) -> overview_pb2.GetGrowthRateRequest:
    given = asked.given
    request = overview_pb2.GetGrowthRateRequest(
        name=given.one(_GROWN, ""),
        labels=dict(given.every(_LABELS)),
        period=given.one(_GROWTH_PERIOD, common_pb2.INTERVAL_MONTH),
        time_zone=given.one(TIME_ZONE, ""),
    )
    current = given.maybe(_CURRENT)
    if current is not None:
        zone = asked_zone(asked)
        request.current_time.CopyFrom(stamp(noon(current, zone)))
        request.time_zone = zone.key
    return request


def _saved(asked: Asked) -> saved_metrics_pb2.GetMetricsRequest:
    given = asked.given
    return saved_metrics_pb2.GetMetricsRequest(
        name=given.one(_SAVED, ""),
        period=given.one(_SAVED_PERIOD, saved_metrics_pb2.METRIC_PERIOD_UNSPECIFIED),
        time_range=asked_range(asked) if is_given(asked) else None,
        page_size=given.one(_SAVED_LIMIT, 0),
        page_token=given.one(_GROUP_TOKEN, ""),
    )


def _save(asked: Asked) -> saved_metrics_pb2.SaveMetricRequest:
    violations = Violations()
    point = fill(violations, saved_metrics_pb2.MetricPointToSave(), asked.body)
    violations.raise_if_any()
    if not point.HasField("point_time"):
        unit = {number: word for word, number in _SAVED_PERIODS.items()}.get(point.period, "hourly")
        point.point_time.CopyFrom(stamp(beginning_of(unit, asked.now.astimezone(asked.zone))))
    return saved_metrics_pb2.SaveMetricRequest(points=[point])


_RANGE = (START, END, TIME_ZONE)

OPERATIONS: Final = (
    Operation(
        "POST",
        PATH,
        "",
        f"{_SERVICE}.SaveMetric",
        "Save one point of a metric of your own. Without pointTime it stands for the hour, day, week or "
        "month that runs now, and saving again replaces it.",
        (),
        _save,
        body=descriptor_of(saved_metrics_pb2.MetricPointToSave),
        fields={"points[0]": ""},
    ),
    Operation(
        "GET",
        PATH,
        "saved",
        f"{_SERVICE}.GetMetrics",
        "List saved points with their change and what of their target they reach.",
        (_SAVED, _SAVED_PERIOD, START, END, _SAVED_LIMIT, _GROUP_TOKEN),
        _saved,
        fields={"time_range": "", "name": "metric", "page_size": "limit"},
    ),
    Operation(
        "GET",
        PATH,
        "active_users",
        f"{_SERVICE}.GetActiveUsers",
        "Count active people: of now, or of each period of a range.",
        (_ACTIVE_PERIOD, *_RANGE, _EVENTS),
        _active_users,
        fields={"time_range": "", "events": "event"},
    ),
    Operation(
        "GET",
        PATH,
        "conversion",
        f"{_SERVICE}.GetConversionRate",
        "Tell how many who did startEvent did endEvent afterwards, and how long that took.",
        (
            _CONVERSION_START,
            _CONVERSION_END,
            _WINDOW,
            _POINTS,
            _PROPERTY,
            *_RANGE,
            _GROUP_LIMIT,
            _GROUP_TOKEN,
        ),
        _conversion,
        fields={"time_range": "", "interval": "period", "group_property": "property", "page_size": "limit"},
    ),
    Operation(
        "GET",
        PATH,
        "retention",
        f"{_SERVICE}.GetRetention",
        "Tell how many of each cohort came back so many days after they entered.",
        (_RETENTION_START, _RETURNS, _COHORTS, _COHORT_DATE, _OFFSETS, _MODE, _ENTRY, *_RANGE),
        _retention,
        fields={
            "time_range": "",
            "interval": "period",
            "return_events": "endEvent",
            "offset_days": "days",
        },
    ),
    Operation(
        "GET",
        PATH,
        "growth",
        f"{_SERVICE}.GetGrowthRate",
        "Tell how much a metric grew from one period to the next.",
        (_GROWN, _LABELS, _GROWTH_PERIOD, _CURRENT, TIME_ZONE),
        _growth,
        fields={"name": "metric", "labels": "label", "current_time": "currentPeriod"},
    ),
)
