"""What the tab Alerts makes of answers, without any service."""

import math
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.common.v1 import common_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gateway.dashboard.alerts import chart, table, words
from gateway.dashboard.alerts.rules import Choice, filled, read
from gateway.dashboard.alerts.words import Measure
from gateway.dashboard.page import formats
from gateway.dashboard.page.scope import Scope
from shared.validation import Violations

NOW = datetime(2011, 11, 11, 8, 26, 40, tzinfo=UTC)
PLAIN = definition_pb2.ALERT_CONDITION_GREATER_THAN
CHANGE = definition_pb2.ALERT_CONDITION_CHANGE_RATIO
FORECAST = definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST
FIRING, OK = alert_pb2.CONDITION_STATE_FIRING, alert_pb2.CONDITION_STATE_OK


def scope(days: int) -> Scope:
    first = NOW.date() - timedelta(days=days - 1)
    return Scope("custom", first, NOW.date(), ZoneInfo("UTC"), compare=False, now=NOW)


def window(
    day: int, compared: float | None, condition: "alert_pb2.ConditionState.ValueType"
) -> alert_pb2.HistoryEntry:
    entry = alert_pb2.HistoryEntry(compared=compared, value=compared, condition=condition)
    start = Timestamp()
    start.FromDatetime(datetime(2011, 11, day))  # noqa: DTZ001 - protobuf reads it as UTC
    entry.window.start_time.CopyFrom(start)
    return entry


def definition(
    condition: "definition_pb2.AlertCondition.ValueType", threshold: float, **more: float
) -> definition_pb2.AlertDefinition:
    metric = definition_pb2.MetricReference(source="events", name="m", interval=common_pb2.INTERVAL_DAY)
    return definition_pb2.AlertDefinition(metric=metric, condition=condition, threshold=threshold, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("condition", "unit", "number", "text"),
    [
        (PLAIN, "events", 30.0, "30 events"),
        (PLAIN, "events", 1.0, "1 event"),
        (PLAIN, "probability", 0.000_123, "0.000123 probability"),
        (PLAIN, "ratio", 0.25, "25.0 %"),
        (PLAIN, "currency", 1_234.0, "1,234 GBP"),
        (PLAIN, "currency", math.inf, "∞"),
        (PLAIN, "events", None, formats.NOTHING),
        (CHANGE, "currency", -0.4, "−40.0 %"),
        (CHANGE, "currency", math.inf, "+∞ (from 0)"),
        (CHANGE, "currency", math.nan, formats.NOTHING),
        (FORECAST, "currency", 4.21, "4.21 deviations"),
    ],
)
def test_numbers_have_their_units(condition: int, unit: str, number: float | None, text: str) -> None:
    assert Measure(condition, unit, "GBP").compared(number) == text


def test_the_past_is_the_pages_days_within_bounds() -> None:
    def days(interval: int, shown: int) -> float:
        found = chart.time_range(interval, scope(shown))
        assert found.end_time.ToDatetime(UTC) == NOW
        return (NOW - found.start_time.ToDatetime(UTC)) / timedelta(days=1)

    whole_days = pytest.approx(89 + (NOW - datetime(2011, 11, 11, tzinfo=UTC)) / timedelta(days=1))
    assert days(common_pb2.INTERVAL_DAY, 90) == whole_days
    assert days(common_pb2.INTERVAL_WEEK, 90) == 30 * 7
    assert days(common_pb2.INTERVAL_HOUR, 90) == pytest.approx(400 / 24)


def test_the_chart_draws_threshold_recovery_and_what_fires() -> None:
    windows = [window(1, 5.0, OK), window(2, 25.0, FIRING), window(3, None, FIRING), window(4, 30.0, FIRING)]
    found = pb.PreviewAlertResponse(
        windows=windows, judged_windows=3, episodes_per_30_days=10, breach_ratio=0.5
    )
    found.episodes.add()
    shown = chart.past(found, definition(PLAIN, 20, recovery_threshold=10), Measure(PLAIN, "", ""), UTC)
    assert shown.chart is not None
    lines = {line.name: line for line in shown.chart.lines}
    assert list(lines) == ["Value", "Firing", "Threshold", "Recovery"]
    # The axis goes from 0 to 30, and the gap parts what fires into two points.
    assert len(lines["Firing"].lone) == 2
    assert lines["Threshold"].path.startswith("M12.5 33.333")
    assert "would have fired once: 10.0 episodes in 30 days. 50.0 % of the windows breach." in shown.summary


def test_nothing_to_draw_is_told() -> None:
    measure = Measure(CHANGE, "", "")
    rule = definition(CHANGE, -0.4)
    assert chart.past(pb.PreviewAlertResponse(), rule, measure, UTC).chart is None
    infinite = pb.PreviewAlertResponse(windows=[window(1, math.inf, FIRING)])
    shown = chart.past(infinite, rule, measure, UTC)
    assert shown.chart is None
    assert "None of 1 windows could be judged" in shown.summary


def test_small_charts_have_two_windows_at_least() -> None:
    rule, measure = definition(FORECAST, 4), Measure(FORECAST, "", "")
    assert table.spark([window(1, 2.0, OK)], rule, measure) is None
    drawn = table.spark([window(1, 2.0, OK), window(2, -5.0, FIRING)], rule, measure)
    assert drawn is not None
    assert len(drawn.thresholds) == 2  # a forecast is left on either side
    assert "-5.00 deviations at last, threshold 4.00 deviations" in drawn.description


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "under a minute"), (60, "1 min"), (3_600, "1 h"), (172_799, "47 h"), (172_800, "2 d")],
)
def test_how_long_is_told_in_the_largest_unit(seconds: float, text: str) -> None:
    assert words.lasted(seconds) == text


def test_a_rules_recovery_follows_its_threshold() -> None:
    found = pb.ListReadyMadeRulesResponse()
    found.rules.add(
        rule_id="drop", definition=definition(CHANGE, -0.4, recovery_threshold=-0.2), available=True
    )
    rule = filled(found, Choice("drop", "-0.6"), {}, "")
    assert rule is not None
    assert rule.definition.recovery_threshold == pytest.approx(-0.3)
    assert filled(found, Choice("rise"), {}, "") is None


@pytest.mark.parametrize("threshold", ["nan", "inf", "x", "9" * 33])
def test_thresholds_are_finite_numbers(threshold: str) -> None:
    violations = Violations()
    read(violations, {"rule": "drop", "threshold": threshold})
    assert len(violations) == 1


def test_every_reason_and_condition_has_words() -> None:
    for enum, told in (
        (alert_pb2.TransitionReason, words.REASONS),
        (alert_pb2.ConditionState, words.CONDITIONS),
        (alert_pb2.DeliveryStatus, words.DELIVERIES),
        (definition_pb2.ChannelKind, words.CHANNELS),
    ):
        assert set(enum.values()) - {0} == set(told)
