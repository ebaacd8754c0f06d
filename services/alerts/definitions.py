"""Definitions of alerts: what the wire may say, and what it says to the worker."""

import math
import re
from typing import TYPE_CHECKING

from brain.alerts.v1 import definition_pb2 as pb
from brain.metrics.v1.metrics_pb2 import MetricQuery

from services.alerts.condition import NoDataPolicy, Policy
from services.alerts.holds import MINUTES_OF_DAY, QuietHours
from services.alerts.judging import ConditionKind, Rule
from services.alerts.plan import Plan
from services.alerts.templates import unknown_words
from services.alerts.windows import NOMINAL_MICROS, Grid
from shared.calendar import MICROS
from shared.intervals import INTERVALS
from shared.validation import Violations, chosen, text, time_zone

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from shared.calendar import Interval

# Who makes anomaly scores of metrics of any service, and under which name.
FORECASTING, ANOMALY_SCORE = "forecasting", "anomaly_score"
MAXIMUM_NAME = 200
MAXIMUM_MESSAGE = 1_000
MAXIMUM_LABELS = 20
MAXIMUM_LABEL_VALUE = 200
MAXIMUM_FILTERS = 20
MAXIMUM_QUIET_HOURS = 10
MAXIMUM_OFFSET = 366
MAXIMUM_WINDOWS = 400
MAXIMUM_GRACE_SECONDS = 30 * 86_400
MAXIMUM_REPEAT_SECONDS = 366 * 86_400
LEAST_REPEAT_SECONDS = 60
DAYS_OF_WEEK = 7
_ID = re.compile(r"[A-Za-z0-9._-]{1,100}")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_CONDITIONS = {kind.value: kind for kind in ConditionKind}
_POLICIES = {0: NoDataPolicy.KEEP} | {policy.value: policy for policy in NoDataPolicy}


def is_id(value: str) -> bool:
    """Return whether an alert or a silence may have this id."""
    return _ID.fullmatch(value) is not None


def check_id(violations: Violations, field: str, value: str) -> None:
    """Check an id."""
    if not is_id(value):
        violations.add(field, "must be 1 to 100 letters, digits or the characters . _ -")


def plan(
    violations: Violations,
    definition: pb.AlertDefinition,
    reporting_zone: "ZoneInfo",
    sources: "Collection[str] | None" = None,
) -> Plan:
    """Return what a definition says, its channels apart; the caller raises.

    With `sources` the metric's service must be among them.
    """
    field = "definition."
    zone = time_zone(violations, f"{field}time_zone", definition.time_zone, reporting_zone)
    interval = chosen(violations, f"{field}metric.interval", definition.metric.interval, INTERVALS)
    rule = _rule(violations, field, definition)
    _check_metric(violations, definition.metric, rule.kind, sources)
    forecast = rule.kind is ConditionKind.OUTSIDE_FORECAST
    return Plan(
        name=line(violations, f"{field}name", definition.name, MAXIMUM_NAME),
        source=FORECASTING if forecast else definition.metric.source,
        metric=definition.metric.name,
        query=_query(definition.metric, zone, forecast=forecast),
        rule=rule,
        policy=_policy(violations, field, definition, interval),
        grid=Grid(interval, zone, _grace(violations, field, definition.grace_seconds)),
        quiet_hours=_quiet_hours(violations, f"{field}quiet_hours", definition.quiet_hours),
        labels=labels(violations, f"{field}labels", definition.labels),
        message=_message(violations, f"{field}message", definition.message),
    )


def line(violations: Violations, field: str, value: str, maximum: int) -> str:
    """Return a text that may stand in a mail's header: no line breaks, no other control characters."""
    if any(not character.isprintable() for character in value):
        violations.add(field, "must not contain control characters or line breaks")
        return ""
    return text(violations, field, value, maximum=maximum)


def labels(violations: Violations, field: str, given: "Mapping[str, str]") -> dict[str, str]:
    """Return labels as Prometheus allows them."""
    if len(given) > MAXIMUM_LABELS:
        violations.add(field, f"at most {MAXIMUM_LABELS}")
        return {}
    for name, value in given.items():
        place = f"{field}[{name[:100]}]"
        if not _LABEL.fullmatch(name):
            violations.add(place, "a name is letters, digits and _, and begins with no digit")
        line(violations, place, value, MAXIMUM_LABEL_VALUE)
    return dict(given)


def _check_metric(
    violations: Violations,
    metric: pb.MetricReference,
    condition: ConditionKind,
    sources: "Collection[str] | None",
) -> None:
    field = "definition.metric"
    text(violations, f"{field}.name", metric.name, maximum=MAXIMUM_NAME)
    if sources is not None and condition is ConditionKind.OUTSIDE_FORECAST and FORECASTING not in sources:
        violations.add("definition.condition", "needs the service forecasting among ALERTS_METRIC_SOURCES")
    if sources is not None and metric.source not in sources:
        known = ", ".join(sorted(sources)) or "none"
        violations.add(f"{field}.source", f"must be one of the services this one reads: {known}")
    if len(metric.filters) > MAXIMUM_FILTERS:
        violations.add(f"{field}.filters", f"at most {MAXIMUM_FILTERS}")
    for name, value in metric.labels.items():
        if "\0" in name + value:
            violations.add(f"{field}.labels", "must not contain NUL")
    for each in metric.filters:
        if "\0" in "".join([each.property, *(value.string_value for value in each.values)]):
            violations.add(f"{field}.filters", "must not contain NUL")


def _query(metric: pb.MetricReference, zone: "ZoneInfo", *, forecast: bool) -> bytes:
    labels = {"source": metric.source, "name": metric.name} if forecast else {}
    query = MetricQuery(
        name=ANOMALY_SCORE if forecast else metric.name,
        labels=dict(metric.labels) | labels,
        filters=metric.filters,
        interval=metric.interval,
        time_zone=str(zone),
    )
    return query.SerializeToString(deterministic=True)


def _rule(violations: Violations, field: str, definition: pb.AlertDefinition) -> Rule:
    kind = chosen(violations, f"{field}condition", definition.condition, _CONDITIONS)
    threshold = definition.threshold
    if not definition.HasField("threshold"):
        violations.add(f"{field}threshold", "is required")
    elif not math.isfinite(threshold):
        violations.add(f"{field}threshold", "must be a finite number")
    elif kind is ConditionKind.OUTSIDE_FORECAST and threshold <= 0:
        violations.add(f"{field}threshold", "must be above 0: how many deviations are too many")
    elif kind is ConditionKind.CHANGE_RATIO and threshold == 0:
        violations.add(f"{field}threshold", "must not be 0: its sign says which way the change is")
    _check_parts(violations, field, definition, kind)
    recovery = definition.recovery_threshold if definition.HasField("recovery_threshold") else None
    if recovery is not None:
        _check_recovery(violations, f"{field}recovery_threshold", kind, threshold, recovery)
    return Rule(
        kind,
        threshold,
        recovery,
        definition.tolerance,
        definition.min_sample,
        definition.baseline_offset_intervals or 1,
    )


def _check_parts(
    violations: Violations, field: str, definition: pb.AlertDefinition, kind: ConditionKind
) -> None:
    if not 0 <= definition.tolerance < math.inf:
        violations.add(f"{field}tolerance", "must be a finite number of 0 or more")
    if definition.tolerance and kind is not ConditionKind.EQUAL_TO:
        violations.add(f"{field}tolerance", "is for EQUAL_TO alone")
    if not 0 <= definition.baseline_offset_intervals <= MAXIMUM_OFFSET:
        violations.add(f"{field}baseline_offset_intervals", f"must be 1 to {MAXIMUM_OFFSET}, or 0 for 1")
    if definition.baseline_offset_intervals and kind is not ConditionKind.CHANGE_RATIO:
        violations.add(f"{field}baseline_offset_intervals", "is for CHANGE_RATIO alone")
    if definition.min_sample and kind is ConditionKind.OUTSIDE_FORECAST:
        violations.add(f"{field}min_sample", "is not for OUTSIDE_FORECAST")
    if definition.min_sample < 0:
        violations.add(f"{field}min_sample", "must be 0 or more")


def _check_recovery(
    violations: Violations, field: str, kind: ConditionKind, threshold: float, recovery: float
) -> None:
    rises = kind in {ConditionKind.GREATER_THAN, ConditionKind.OUTSIDE_FORECAST} or (
        kind is ConditionKind.CHANGE_RATIO and threshold > 0
    )
    if kind is ConditionKind.EQUAL_TO:
        violations.add(field, "is not for EQUAL_TO")
    elif not math.isfinite(recovery):
        violations.add(field, "must be a finite number")
    elif recovery > threshold if rises else recovery < threshold:
        violations.add(field, "must lie on the side of the threshold that does not breach")
    elif kind is ConditionKind.OUTSIDE_FORECAST and recovery < 0:
        violations.add(field, "must be 0 or more: no window deviates by less")


def _policy(
    violations: Violations, field: str, definition: pb.AlertDefinition, interval: "Interval"
) -> Policy:
    repeat = definition.repeat_interval_seconds
    if repeat and not LEAST_REPEAT_SECONDS <= repeat <= MAXIMUM_REPEAT_SECONDS:
        violations.add(
            f"{field}repeat_interval_seconds",
            f"must be {LEAST_REPEAT_SECONDS} to {MAXIMUM_REPEAT_SECONDS:,}, or 0 for never",
        )
    return Policy(
        _windows(violations, f"{field}for_seconds", definition.for_seconds, interval),
        _windows(violations, f"{field}keep_firing_for_seconds", definition.keep_firing_for_seconds, interval),
        repeat * MICROS or None,
        chosen(violations, f"{field}no_data_policy", definition.no_data_policy, _POLICIES),
    )


def _windows(violations: Violations, field: str, seconds: int, interval: "Interval") -> int:
    """Return how many windows a duration takes."""
    window = NOMINAL_MICROS[interval] // MICROS
    if seconds and not window <= seconds <= MAXIMUM_WINDOWS * window:
        allowed = f"must be 0, or {window:,} to {MAXIMUM_WINDOWS * window:,}"
        shorter = f"is shorter than a window of {window:,} s, so it would change nothing; "
        violations.add(field, (shorter if 0 < seconds < window else "") + allowed)
        return 0
    return math.ceil(seconds / window)


def _grace(violations: Violations, field: str, seconds: int) -> int:
    if not 0 <= seconds <= MAXIMUM_GRACE_SECONDS:
        violations.add(f"{field}grace_seconds", f"must be 0 to {MAXIMUM_GRACE_SECONDS:,}")
        return 0
    return seconds * MICROS


def _quiet_hours(
    violations: Violations, field: str, given: "Sequence[pb.QuietHours]"
) -> tuple[QuietHours, ...]:
    if len(given) > MAXIMUM_QUIET_HOURS:
        violations.add(field, f"at most {MAXIMUM_QUIET_HOURS}")
        return ()
    for index, hours in enumerate(given):
        for name, minute in (("start_minute", hours.start_minute), ("end_minute", hours.end_minute)):
            if not 0 <= minute < MINUTES_OF_DAY:
                violations.add(f"{field}[{index}].{name}", "must be 0 to 1439")
        if any(not 1 <= day <= DAYS_OF_WEEK for day in hours.weekdays):
            violations.add(f"{field}[{index}].weekdays", "must be 1 (Monday) to 7 (Sunday)")
    return tuple(QuietHours(each.start_minute, each.end_minute, frozenset(each.weekdays)) for each in given)


def _message(violations: Violations, field: str, message: str) -> str:
    checked = text(violations, field, message, maximum=MAXIMUM_MESSAGE, required=False)
    for word in unknown_words(checked):
        violations.add(field, f"nothing replaces {word}; write $$ for a dollar sign")
    return checked
