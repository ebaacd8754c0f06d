"""Rules that many want. Pure but for the messages they are made of."""

from dataclasses import dataclass

from brain.alerts.v1 import definition_pb2 as pb
from brain.common.v1 import common_pb2

from services.alerts.definitions import FORECASTING

_OUTSIDE = pb.ALERT_CONDITION_OUTSIDE_FORECAST
_HOUR, _DAY, _MONTH = common_pb2.INTERVAL_HOUR, common_pb2.INTERVAL_DAY, common_pb2.INTERVAL_MONTH


@dataclass(frozen=True)
class ReadyMade:
    """A rule: what it is good for, its definition, and labels that only its user knows."""

    rule_id: str
    description: str
    definition: pb.AlertDefinition
    missing_labels: tuple[str, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """The services it needs."""
        own = self.definition.metric.source
        return (own, FORECASTING) if self.definition.condition == _OUTSIDE else (own,)


def _metric(source: str, name: str, interval: common_pb2.Interval.ValueType) -> pb.MetricReference:
    return pb.MetricReference(source=source, name=name, interval=interval)


RULES = (
    ReadyMade(
        "revenue-drop",
        "A day brought 40 % less revenue than the same weekday of the week before.",
        pb.AlertDefinition(
            name="Revenue drop",
            metric=_metric("events", "revenue", _DAY),
            condition=pb.ALERT_CONDITION_CHANGE_RATIO,
            threshold=-0.4,
            recovery_threshold=-0.2,
            baseline_offset_intervals=7,
            min_sample=30,
            grace_seconds=900,
        ),
    ),
    ReadyMade(
        "conversion-drop",
        "A day converted 30 % less of those who started than the same weekday of the week before.",
        pb.AlertDefinition(
            name="Conversion drop",
            metric=_metric("events", "conversion_ratio", _DAY),
            condition=pb.ALERT_CONDITION_CHANGE_RATIO,
            threshold=-0.3,
            recovery_threshold=-0.15,
            baseline_offset_intervals=7,
            min_sample=100,
        ),
        ("start", "end", "window_minutes"),
    ),
    ReadyMade(
        "churn-spike",
        "A month lost half as many people again as the month before.",
        pb.AlertDefinition(
            name="Churn spike",
            metric=_metric("events", "churn_ratio", _MONTH),
            condition=pb.ALERT_CONDITION_CHANGE_RATIO,
            threshold=0.5,
            min_sample=100,
        ),
    ),
    ReadyMade(
        "error-spike",
        "An hour brought three times as many of an error's events as the same hour of the day before.",
        pb.AlertDefinition(
            name="Error spike",
            metric=_metric("events", "event_count", _HOUR),
            condition=pb.ALERT_CONDITION_CHANGE_RATIO,
            threshold=2.0,
            recovery_threshold=1.0,
            baseline_offset_intervals=24,
            keep_firing_for_seconds=3_600,
        ),
        ("event",),
    ),
    ReadyMade(
        "outside-forecast",
        "A day's revenue lies more than four deviations from what the days before led to expect.",
        pb.AlertDefinition(
            name="Revenue outside forecast",
            metric=_metric("events", "revenue", _DAY),
            condition=pb.ALERT_CONDITION_OUTSIDE_FORECAST,
            threshold=4.0,
            recovery_threshold=3.0,
            grace_seconds=900,
        ),
    ),
    ReadyMade(
        "nothing-received",
        "An hour passed without a single session.",
        pb.AlertDefinition(
            name="Nothing received for an hour",
            metric=_metric("events", "sessions", _HOUR),
            condition=pb.ALERT_CONDITION_LESS_THAN,
            threshold=1,
            no_data_policy=pb.NO_DATA_POLICY_FIRE,
        ),
    ),
    ReadyMade(
        "sample-ratio-broken",
        "An experiment's variants got other shares of its participants than they should: p below 0.001.",
        pb.AlertDefinition(
            name="Sample ratio broken",
            metric=_metric("experiments", "experiment_srm_p_value", _DAY),
            condition=pb.ALERT_CONDITION_LESS_THAN,
            threshold=0.001,
        ),
        ("experiment_id",),
    ),
    ReadyMade(
        "guardrail-harmed",
        "A variant's effect on a guardrail fell below what is bearable; adapt threshold and side.",
        pb.AlertDefinition(
            name="Guardrail harmed",
            metric=_metric("experiments", "experiment_effect", _DAY),
            condition=pb.ALERT_CONDITION_LESS_THAN,
            threshold=-0.05,
            for_seconds=86_400,
        ),
        ("experiment_id", "metric", "variant"),
    ),
)
