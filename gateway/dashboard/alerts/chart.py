"""An alert's rule over the past: what is compared window by window, the threshold, and when it fires."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.common.v1 import common_pb2

from gateway.dashboard.alerts import words
from gateway.dashboard.alerts.table import compared_of, thresholds_of
from gateway.dashboard.page import charts, formats

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from brain.alerts.v1 import definition_pb2

    from gateway.dashboard.alerts.words import Measure
    from gateway.dashboard.page.scope import Scope

# A rule is shown over the days of the page, but over no fewer and no more windows than these.
LEAST_WINDOWS: Final = 30
MOST_WINDOWS: Final = 400
_WINDOWS: Final = {
    common_pb2.INTERVAL_HOUR: timedelta(hours=1),
    common_pb2.INTERVAL_DAY: timedelta(days=1),
    common_pb2.INTERVAL_WEEK: timedelta(weeks=1),
    common_pb2.INTERVAL_MONTH: timedelta(days=30),
}
_FIRES: Final = {alert_pb2.CONDITION_STATE_FIRING, alert_pb2.CONDITION_STATE_RECOVERING}
# The chart's lines by their looks.
_VALUE, _FIRING, _THRESHOLD, _RECOVERY = 0, 1, 6, 3


@dataclass(frozen=True, slots=True)
class Past:
    """What a rule would have done over the past."""

    chart: charts.Chart | None
    summary: str


def time_range(interval: int, scope: "Scope") -> common_pb2.TimeRange:
    """Return the range to replay a rule over: the page's days, within the bounds of windows."""
    window = _WINDOWS.get(interval, timedelta(days=1))  # type: ignore[call-overload]  # an enum's number
    asked = scope.time_range()
    end = min(formats.moment(asked.end_time), scope.now)
    start = min(formats.moment(asked.start_time), end - LEAST_WINDOWS * window)
    start = max(start, end - MOST_WINDOWS * window)
    found = common_pb2.TimeRange()
    found.start_time.FromDatetime(start)
    found.end_time.FromDatetime(end)
    return found


def past(
    found: pb.PreviewAlertResponse,
    definition: "definition_pb2.AlertDefinition",
    measure: "Measure",
    zone: "tzinfo",
) -> Past:
    """Return the chart of a replay, and what it adds up to."""
    return Past(_chart(found.windows, definition, measure, zone), _summary(found))


def _summary(found: pb.PreviewAlertResponse) -> str:
    if not found.windows:
        return "No window of this rule has closed in these days."
    if not found.judged_windows:
        return f"None of {len(found.windows)} windows could be judged: no value, or too few observations."
    times = len(found.episodes)
    fired = "not once" if not times else "once" if times == 1 else f"{times} times"
    month = formats.significant(found.episodes_per_30_days)
    judged = formats.whole(found.judged_windows)
    return (
        f"Over the {judged} windows that could be judged it would have fired {fired}: "
        f"{month} episodes in 30 days. {formats.percent(found.breach_ratio)} of the windows breach."
    )


def _chart(
    windows: "Sequence[alert_pb2.HistoryEntry]",
    definition: "definition_pb2.AlertDefinition",
    measure: "Measure",
    zone: "tzinfo",
) -> charts.Chart | None:
    values = [compared_of(each) for each in windows]
    if all(value is None for value in values):
        return None
    lines = _lines(windows, values, definition)
    marks = charts.axis([value for line in lines.values() for value in line.values], whole=False)
    labels = [_label(formats.moment(each.window.start_time), definition, zone) for each in windows]
    metric, threshold = words.metric(definition.metric), measure.compared(definition.threshold)
    return charts.Chart(
        description=f"{metric} against {threshold}, {len(windows)} windows",
        lines=tuple(charts.line(line, place, marks[0], marks[-1]) for place, line in lines.items()),
        levels=charts.levels(marks, [measure.compared(mark) for mark in marks]),
        moments=charts.moments(labels),
        columns=charts.columns(
            [_text(label, each, measure) for label, each in zip(labels, windows, strict=True)]
        ),
    )


def _lines(
    windows: "Sequence[alert_pb2.HistoryEntry]",
    values: "Sequence[float | None]",
    definition: "definition_pb2.AlertDefinition",
) -> dict[int, charts.Series]:
    count = len(windows)
    fires = tuple(
        value if each.condition in _FIRES else None for each, value in zip(windows, values, strict=True)
    )
    lines = {_VALUE: charts.Series("Value", tuple(values), count)}
    if any(value is not None for value in fires):
        lines[_FIRING] = charts.Series("Firing", fires, count)
    thresholds = thresholds_of(definition)
    lines[_THRESHOLD] = charts.Series("Threshold", (thresholds[0],) * count, count)
    if len(thresholds) > 1:
        lines[_THRESHOLD + 1] = charts.Series("Threshold below", (thresholds[1],) * count, count)
    if definition.HasField("recovery_threshold"):
        lines[_RECOVERY] = charts.Series("Recovery", (definition.recovery_threshold,) * count, count)
    return lines


def _text(label: str, entry: alert_pb2.HistoryEntry, measure: "Measure") -> str:
    compared = measure.compared(entry.compared if entry.HasField("compared") else None)
    value = f" ({measure.value(entry.value)})" if measure.is_change and entry.HasField("value") else ""
    why = words.REASONS.get(entry.reason, "")
    return f"{label}: {compared}{value}\n{why}"


def _label(start: "datetime", definition: "definition_pb2.AlertDefinition", zone: "tzinfo") -> str:
    local = start.astimezone(zone)
    if definition.metric.interval == common_pb2.INTERVAL_HOUR:
        return f"{formats.day_and_month(local)}, {local:%H:%M}"
    if definition.metric.interval == common_pb2.INTERVAL_MONTH:
        return f"{local:%b %Y}"
    return formats.day_and_month(local)
