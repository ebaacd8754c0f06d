"""What the alerts service says, in the words of its tab: states, reasons, rules, numbers with units."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.common.v1 import common_pb2

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from collections.abc import Mapping

CONDITIONS: Final = {
    alert_pb2.CONDITION_STATE_OK: "ok",
    alert_pb2.CONDITION_STATE_PENDING: "pending",
    alert_pb2.CONDITION_STATE_FIRING: "firing",
    alert_pb2.CONDITION_STATE_RECOVERING: "recovering",
}
HEALTHS: Final = {
    alert_pb2.HEALTH_STATE_NO_DATA: "no data",
    alert_pb2.HEALTH_STATE_ERROR: "cannot be read",
}
REASONS: Final = {
    alert_pb2.TRANSITION_REASON_CLEAR: "clear",
    alert_pb2.TRANSITION_REASON_PENDING: "breached, not yet for long enough",
    alert_pb2.TRANSITION_REASON_FIRED: "breached: an episode began",
    alert_pb2.TRANSITION_REASON_STILL_FIRING: "still breached",
    alert_pb2.TRANSITION_REASON_REPEATED: "still breached, and told again",
    alert_pb2.TRANSITION_REASON_NOT_RECOVERED: "no breach, but not beyond the recovery threshold",
    alert_pb2.TRANSITION_REASON_RECOVERING: "clear, not yet for long enough",
    alert_pb2.TRANSITION_REASON_RESOLVED: "clear: the episode ended",
    alert_pb2.TRANSITION_REASON_FIRED_AGAIN: "breached again before the end was told",
    alert_pb2.TRANSITION_REASON_CLEARED_BEFORE_FIRING: "clear before it was a breach for long enough",
    alert_pb2.TRANSITION_REASON_NO_DATA: "the metric had no value",
    alert_pb2.TRANSITION_REASON_TOO_FEW: "too few observations to judge",
    alert_pb2.TRANSITION_REASON_ERROR: "the metric could not be read",
    alert_pb2.TRANSITION_REASON_HELD: "held by a silence or quiet hours",
    alert_pb2.TRANSITION_REASON_ANNOUNCED_LATE: "told after a silence or quiet hours",
    alert_pb2.TRANSITION_REASON_WITHDRAWN: "edited, paused or deleted",
    alert_pb2.TRANSITION_REASON_SKIPPED: "not judged: nobody looked in time",
}
# A refresh says nothing new: it keeps Alertmanager from forgetting.
NOTICES: Final = {
    alert_pb2.NOTICE_KIND_FIRE: "fire",
    alert_pb2.NOTICE_KIND_REPEAT: "repeat",
    alert_pb2.NOTICE_KIND_RESOLVE: "resolve",
    alert_pb2.NOTICE_KIND_NO_DATA: "no data",
    alert_pb2.NOTICE_KIND_ERROR: "error",
    alert_pb2.NOTICE_KIND_TEST: "test",
}
DELIVERIES: Final = {
    alert_pb2.DELIVERY_STATUS_WAITING: "waiting",
    alert_pb2.DELIVERY_STATUS_DELIVERED: "delivered",
    alert_pb2.DELIVERY_STATUS_FAILED: "failed",
}
CHANNELS: Final = {
    definition_pb2.CHANNEL_KIND_EMAIL: "email",
    definition_pb2.CHANNEL_KIND_SLACK: "slack",
    definition_pb2.CHANNEL_KIND_SMS: "sms",
    definition_pb2.CHANNEL_KIND_WEBHOOK: "webhook",
    definition_pb2.CHANNEL_KIND_ALERTMANAGER: "alertmanager",
}
INTERVALS: Final = {
    common_pb2.INTERVAL_HOUR: "hour",
    common_pb2.INTERVAL_DAY: "day",
    common_pb2.INTERVAL_WEEK: "week",
    common_pb2.INTERVAL_MONTH: "month",
}
_SMALL = 100
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class Measure:
    """What the numbers of an alert are: how they are compared, and the unit of its metric."""

    condition: int
    unit: str
    currency: str

    @property
    def is_change(self) -> bool:
        """Whether changes are compared, not values."""
        return self.condition == definition_pb2.ALERT_CONDITION_CHANGE_RATIO

    @property
    def is_deviation(self) -> bool:
        """Whether deviations from a forecast are compared."""
        return self.condition == definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST

    def value(self, number: float | None) -> str:
        """Return a metric's value with its unit."""
        if number is None or math.isnan(number):
            return formats.NOTHING
        if math.isinf(number):
            return "∞" if number > 0 else f"{formats.MINUS}∞"
        if self.is_deviation:
            return f"{formats.significant(number)} deviations"
        if self.unit in {"ratio", "currency"}:
            return formats.quantity(number, self.unit, self.currency)
        is_small = abs(number) < _SMALL and number != math.floor(number)
        text = formats.significant(number) if is_small else formats.short(number)
        unit = self.unit.removesuffix("s") if number == 1 else self.unit
        return f"{text} {unit}".rstrip()

    def compared(self, number: float | None) -> str:
        """Return what is compared with the threshold: a value, or a change with its sign."""
        if number is None or math.isnan(number) or not self.is_change:
            return self.value(number)
        if math.isinf(number):
            return "+∞ (from 0)" if number > 0 else f"{formats.MINUS}∞ (from 0)"
        return formats.signed_percent(number)

    def exact(self, number: float | None) -> str:
        """Return all digits worth reading of what is compared."""
        if number is None or not math.isfinite(number) or self.is_change or self.is_deviation:
            return self.compared(number)
        return formats.exact(number, self.unit, self.currency)


def measure_of(
    definition: definition_pb2.AlertDefinition, units: "Mapping[tuple[str, str], str]", currency: str
) -> Measure:
    """Return what an alert's numbers are; `units` are by the names of a service and its metric."""
    key = definition.metric.source, definition.metric.name
    return Measure(definition.condition, units.get(key, ""), currency)


def sign(definition: definition_pb2.AlertDefinition) -> str:
    """Return how a value lies to the threshold where it breaches."""
    match definition.condition:
        case definition_pb2.ALERT_CONDITION_LESS_THAN:
            return "<"
        case definition_pb2.ALERT_CONDITION_EQUAL_TO:
            return "="
        case definition_pb2.ALERT_CONDITION_CHANGE_RATIO:
            return ">" if definition.threshold > 0 else "<"
        case definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST:
            return "beyond ±"
    return ">"


def rule(definition: definition_pb2.AlertDefinition, measure: Measure) -> str:
    """Return when an alert fires, in a sentence."""
    threshold = measure.compared(definition.threshold)
    interval = INTERVALS.get(definition.metric.interval, "window")
    what = metric(definition.metric)
    if measure.is_change:
        way = "rises" if definition.threshold > 0 else "falls"
        return (
            f"Fires when {what} of {_a(interval)} {way} by more than {threshold.lstrip('+' + formats.MINUS)} "
            f"against {_before(definition.baseline_offset_intervals or 1, interval)}"
        )
    if measure.is_deviation:
        return f"Fires when {what} of {_a(interval)} lies more than {threshold} from the forecast"
    verb = {"<": "is below", ">": "is above", "=": "is"}[sign(definition)]
    return f"Fires when {what} of {_a(interval)} {verb} {threshold}"


def metric(reference: definition_pb2.MetricReference) -> str:
    """Return a metric with its labels."""
    labels = ", ".join(f"{name} {value}" for name, value in sorted(reference.labels.items()))
    return f"{reference.name} ({labels})" if labels else reference.name


def lasted(seconds: float) -> str:
    """Return how long something has lasted, in its largest unit: 5 min, 3 h, 12 d."""
    if seconds < _MINUTE:
        return "under a minute"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    return f"{seconds // _HOUR:.0f} h" if seconds < 2 * _DAY else f"{seconds // _DAY:.0f} d"


def _a(interval: str) -> str:
    return "an hour" if interval == "hour" else f"a {interval}"


def _before(offset: int, interval: str) -> str:
    return f"the {interval} before" if offset == 1 else f"the one {offset} {interval}s before"
