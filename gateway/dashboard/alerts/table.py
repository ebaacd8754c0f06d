"""Alerts in the list: where each stands, since when, and its latest values against its threshold."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.alerts.v1 import alert_pb2, definition_pb2

from gateway.dashboard.alerts import words
from gateway.dashboard.alerts.words import Measure
from gateway.dashboard.page import charts, formats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.dashboard.page.scope import Scope

# Windows of the small charts.
RECENT: Final = 30
_LEAST_DRAWN: Final = 2
_IN_EPISODE: Final = {alert_pb2.CONDITION_STATE_FIRING, alert_pb2.CONDITION_STATE_RECOVERING}


@dataclass(frozen=True, slots=True)
class Spark:
    """A small chart in a square of 100 by 100: what was compared, and the threshold."""

    path: str
    thresholds: tuple[float, ...]
    description: str


@dataclass(frozen=True, slots=True)
class Listed:
    """An alert in the list."""

    key: str
    name: str
    # A word for the eye, and the same word in the names of CSS classes.
    status: str
    # What keeps it from being judged or told, or who takes care; empty: nothing.
    remark: str
    since: str
    exact_since: str
    lasted: str
    rule: str
    value: str
    exact_value: str
    threshold: str
    # Why there is no value.
    reason: str
    spark: Spark | None


def listed(alert: alert_pb2.Alert, measure: Measure, scope: "Scope") -> Listed:
    """Return a line of the list."""
    state, definition = alert.state, alert.definition
    since = formats.moment(state.since_time)
    latest = state.latest
    known = latest.HasField("compared")
    return Listed(
        key=alert.alert_id,
        name=definition.name,
        status=status(alert),
        remark=_remark(alert, scope),
        since=formats.time_of(since, scope.zone),
        exact_since=formats.exact_time(since, scope.zone),
        lasted=words.lasted((scope.now - since).total_seconds()),
        rule=words.rule(definition, measure),
        value=measure.compared(latest.compared) if known else "",
        exact_value=measure.exact(latest.compared) if known else "",
        threshold=f"{words.sign(definition)} {measure.compared(definition.threshold)}".replace("± ", "±"),
        reason="" if known else _unknown(alert),
        spark=spark(alert.recent, definition, measure),
    )


def status(alert: alert_pb2.Alert) -> str:
    """Return where an alert stands, in a word."""
    return words.CONDITIONS.get(alert.state.condition, "unknown") if alert.active else "paused"


def acts(alert: alert_pb2.Alert) -> tuple[str, ...]:
    """Return what may be done with an alert now."""
    known = ["acknowledge"] if is_in_episode(alert) and not alert.state.acknowledged_by else []
    if alert.definition.channels:
        known.append("test")
    return (*known, "pause" if alert.active else "resume", "delete")


def tells(alert: alert_pb2.Alert) -> str:
    """Return whom an alert tells."""
    told = [
        f"{words.CHANNELS.get(each.kind, 'unknown')} {', '.join(each.recipients)}"
        for each in alert.definition.channels
    ]
    return f"Tells {'; '.join(told)}." if told else "Tells nobody: it is only shown here."


def is_in_episode(alert: alert_pb2.Alert) -> bool:
    """Return whether an episode is going on."""
    return alert.active and alert.state.condition in _IN_EPISODE


def first(alerts: "Sequence[alert_pb2.Alert]") -> str:
    """Return the id of what is worth a look where nothing was chosen: the first, which fires if any does."""
    return alerts[0].alert_id if alerts else ""


def summary(alerts: "Sequence[alert_pb2.Alert]") -> str:
    """Return how many fire, in a sentence."""
    firing = sum(is_in_episode(each) for each in alerts)
    ill = sum(each.active and each.state.health in words.HEALTHS for each in alerts)
    told = [f"{firing or 'None'} of {len(alerts)} {'fires' if firing == 1 else 'fire'}."]
    if ill:
        told.append(f"{ill} cannot be judged.")
    return " ".join(told)


def spark(
    recent: "Sequence[alert_pb2.HistoryEntry]", definition: definition_pb2.AlertDefinition, measure: Measure
) -> Spark | None:
    """Return the small chart; None where fewer than two windows were judged."""
    values = tuple(compared_of(each) for each in recent)
    known = [value for value in values if value is not None]
    if len(known) < _LEAST_DRAWN:
        return None
    thresholds = thresholds_of(definition)
    marks = charts.axis([*known, *thresholds], whole=False)
    line = charts.line(charts.Series("", values, len(values)), 0, marks[0], marks[-1])
    drawn = tuple(tick.position for value in thresholds for tick in _level(value, marks))
    latest = measure.compared(known[-1])
    return Spark(
        path=line.path,
        thresholds=drawn,
        description=f"The latest {len(values)} windows, {latest} at last, threshold "
        f"{measure.compared(definition.threshold)}",
    )


def thresholds_of(definition: definition_pb2.AlertDefinition) -> tuple[float, ...]:
    """Return the thresholds on the axis of what is compared: two around a forecast."""
    threshold = definition.threshold
    if definition.condition == definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST:
        return (threshold, -threshold)
    return (threshold,)


def compared_of(entry: alert_pb2.HistoryEntry) -> float | None:
    """Return what was compared where it can be drawn; a rise from 0 cannot."""
    drawable = entry.HasField("compared") and abs(entry.compared) < float("inf")
    return entry.compared if drawable else None


def _level(value: float, marks: "Sequence[float]") -> "Sequence[charts.Tick]":
    return charts.levels((marks[0], value, marks[-1]), ("", "", ""))[1:2]


def _unknown(alert: alert_pb2.Alert) -> str:
    if not alert.state.HasField("latest"):
        return "not looked at yet"
    return words.REASONS.get(alert.state.latest.reason, "unknown")


def _remark(alert: alert_pb2.Alert, scope: "Scope") -> str:
    state = alert.state
    parts = [words.HEALTHS.get(state.health, "")]
    if state.latest.reason == alert_pb2.TRANSITION_REASON_TOO_FEW:
        parts.append(words.REASONS[state.latest.reason])
    if state.acknowledged_by and is_in_episode(alert):
        parts.append(f"{state.acknowledged_by} takes care")
    if state.HasField("held_until_time"):
        until = formats.time_of(formats.moment(state.held_until_time), scope.zone)
        parts.append(f"silent until {until}")
    return ", ".join(filter(None, parts))
