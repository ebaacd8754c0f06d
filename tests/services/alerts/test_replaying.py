"""Rules over the past: when they would have fired, and how often for nothing."""

from collections.abc import Callable

import numpy as np
import pytest
from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb
from brain.common.v1 import common_pb2
from google.protobuf.json_format import MessageToDict

from services.alerts.ready_made import RULES
from shared.timestamps import from_micros
from tests.clock import Clock
from tests.refusals import refusal
from tests.services.alerts.asking import create, definition, deliveries, history
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.alerts.scripted_source import Script


def past(hours: int) -> common_pb2.TimeRange:
    return common_pb2.TimeRange(
        start_time=from_micros(START - hours * HOUR), end_time=from_micros(START + 5 * HOUR)
    )


def test_a_replay_says_what_looking_would_have_said(service: Service, clock: Clock, script: Script) -> None:
    rule = {"for_seconds": 3600, "keep_firing_for_seconds": 3600, "recovery_threshold": 1.0}
    create(service, **rule)  # type: ignore[arg-type]  # fields by name
    service.look()
    values = [0, 5, 5, 5, 2, 0, 0, 5, 0, 5, 5, 1, 1, 0]
    for hour, value in enumerate(values):
        script.values[START + hour * HOUR] = float(value)
        clock.micros = START + (hour + 1) * HOUR
        service.look()
    time_range = common_pb2.TimeRange(
        start_time=from_micros(START), end_time=from_micros(START + len(values) * HOUR)
    )
    replayed = service.alerts.PreviewAlert(pb.PreviewAlertRequest(alert_id="errors", time_range=time_range))

    def told(entry: alert_pb2.HistoryEntry) -> object:
        return entry.window, entry.compared, entry.condition, entry.reason, entry.episode, entry.notices

    assert list(map(told, replayed.windows)) == list(map(told, history(service)[1:]))
    bounds = [(each.fired_time.seconds, each.resolved_time.seconds) for each in replayed.episodes]
    assert bounds == [
        (START // 10**6 + 3 * 3600, START // 10**6 + 7 * 3600),
        (START // 10**6 + 11 * 3600, START // 10**6 + 13 * 3600),
    ]
    assert replayed.judged_windows == len(values)
    assert replayed.breach_ratio == sum(value > 2 for value in values) / len(values)
    assert replayed.episodes_per_30_days == pytest.approx(2 / (len(values) / 24 / 30))


def test_a_replay_needs_no_alert_and_tells_nobody(service: Service, script: Script) -> None:
    script.otherwise = 9.0
    request = pb.PreviewAlertRequest(definition=definition(), time_range=past(10))
    replayed = service.alerts.PreviewAlert(request)
    assert len(replayed.episodes) == 1
    assert len(replayed.windows) == 10  # the others are not closed
    assert not replayed.episodes[0].HasField("resolved_time")
    assert deliveries(service) == []


def test_nothing_judged_has_no_rates(service: Service, script: Script) -> None:
    script.otherwise = None
    request = pb.PreviewAlertRequest(definition=definition(), time_range=past(10))
    replayed = service.alerts.PreviewAlert(request)
    assert replayed.judged_windows == 0
    assert not replayed.HasField("breach_ratio")
    assert not replayed.HasField("episodes_per_30_days")


def test_windows_without_a_value_count_as_the_policy_says(service: Service, script: Script) -> None:
    script.otherwise = None
    script.values = {START - hour * HOUR: 0.0 for hour in range(1, 6)}
    fires = definition(no_data_policy=definition_pb2.NO_DATA_POLICY_FIRE)
    request = pb.PreviewAlertRequest(definition=fires, time_range=past(10))
    replayed = service.alerts.PreviewAlert(request)
    # Five hours without a value, then five clear ones.
    assert (len(replayed.episodes), replayed.judged_windows) == (1, 10)
    assert replayed.breach_ratio == 0.5
    assert replayed.episodes_per_30_days == pytest.approx(24 * 30 / 10)


def test_a_false_alert_rate_is_the_one_of_the_distribution(service: Service, script: Script) -> None:
    draws = np.random.default_rng(1).standard_normal(4_000)
    for hour, draw in enumerate(draws):
        script.values[START - (hour + 1) * HOUR] = float(draw)
    # P(Z > 1.6449) = 0.05, quantile of the standard normal distribution.
    rule = definition(threshold=1.6449)
    request = pb.PreviewAlertRequest(definition=rule, time_range=past(4_000))
    found = service.alerts.PreviewAlert(request)
    assert found.judged_windows == 4_000
    assert found.breach_ratio == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / 4_000) ** 0.5)
    # An episode begins with a breach after a clear hour.
    assert found.episodes_per_30_days == pytest.approx(0.05 * 0.95 * 24 * 30, rel=0.25)


def test_ready_made_rules_are_what_create_takes(
    start_service: Callable[..., Service], script: Script
) -> None:
    service = start_service(metric_sources={"events": script.address, "forecasting": script.address})
    rules = service.alerts.ListReadyMadeRules(pb.ListReadyMadeRulesRequest()).rules
    assert [each.rule_id for each in rules] == [each.rule_id for each in RULES]
    for rule in rules:
        made = definition_pb2.AlertDefinition()
        made.CopyFrom(rule.definition)
        made.metric.source, made.metric.name = "events", "event_count"
        request = pb.CreateAlertRequest(alert_id=rule.rule_id, definition=made)
        assert service.alerts.CreateAlert(request).alert.definition == made, MessageToDict(made)


def test_a_rule_is_available_where_its_services_are(service: Service) -> None:
    rules = service.alerts.ListReadyMadeRules(pb.ListReadyMadeRulesRequest()).rules
    assert {each.rule_id for each in rules if not each.available} == {
        "outside-forecast",
        "sample-ratio-broken",
        "guardrail-harmed",
    }


def test_what_cannot_be_replayed_is_said(service: Service) -> None:
    nothing = refusal(lambda: service.alerts.PreviewAlert(pb.PreviewAlertRequest(time_range=past(1))))
    assert set(nothing.fields) == {"definition"}
    wide = pb.PreviewAlertRequest(definition=definition(), time_range=past(6_000))
    assert "at most 5,000 windows" in refusal(lambda: service.alerts.PreviewAlert(wide)).fields["time_range"]
