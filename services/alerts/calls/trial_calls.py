"""The calls that try things out: channels, rules over the past, ready-made rules."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.alerts.v1 import alert_pb2, definition_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from services.alerts import definitions
from services.alerts.calls.probing import probe
from services.alerts.notify.answer import Answer
from services.alerts.outcome import Subject
from services.alerts.pipeline import Channel
from services.alerts.plan import ChannelKind, Plan, Recipient
from services.alerts.ready_made import RULES
from services.alerts.replay import Replay, Step, replay
from services.alerts.sources import Source, Wanted, points
from services.alerts.store import alerts, states
from services.alerts.telling import try_out
from shared import audit
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.intervals import Limit, range_of, units_of
from shared.timestamps import from_micros
from shared.validation import Violations

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc
    from sqlalchemy import Engine

    from services.alerts.notice import Notice
    from services.alerts.store.recipients import RecipientStore

MAXIMUM_WINDOWS = 5_000
_AT_ONCE = 10


@dataclass(frozen=True)
class TrialCalls:
    """Tests channels, replays rules, lists ready-made ones."""

    engine: "Engine"
    sources: Mapping[str, Source]
    channels: Mapping[ChannelKind, Channel]
    recipients: "RecipientStore"
    reporting_zone: "ZoneInfo"
    clock: Callable[[], int]

    def TestAlert(
        self, request: pb.TestAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.TestAlertResponse:
        """Tell every recipient, and their answers to the caller."""
        with self.engine.begin() as connection:
            kept = alerts.read(connection, request.alert_id)
            claimed = states.lock(connection, kept.alert_key)
            recipients = self.recipients.of_alerts(connection, [kept.alert_key]).get(kept.alert_key, [])
            audit.record(connection, AuditEntry(current_caller().subject, "TestAlert", kept.alert_id, {}))
        plan = definitions.plan(Violations(), kept.definition, self.reporting_zone)
        labels = dict(kept.definition.metric.labels)
        notice = try_out(Subject(claimed, kept.alert_id, plan, labels), self.clock())
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(pool.map(lambda each: self._try(notice, each), recipients))
        return pb.TestAlertResponse(
            results=[
                pb.TestResult(
                    channel=definition_pb2.ChannelKind.ValueType(recipient.channel.value),
                    recipient=recipient.address,
                    delivered=answer.delivered,
                    answer=answer.text,
                )
                for recipient, answer in zip(recipients, answers, strict=True)
            ]
        )

    def _try(self, notice: "Notice", recipient: Recipient) -> Answer:
        channel = self.channels.get(recipient.channel)
        if channel is None:
            return Answer(delivered=False, text="the settings of this service do not say how")
        # No delivery has this number: their ids begin at 1.
        return channel.send(notice, recipient.address, -self.clock())

    def PreviewAlert(
        self, request: pb.PreviewAlertRequest, context: "grpc.ServicerContext"
    ) -> pb.PreviewAlertResponse:
        """Replay a rule."""
        violations = Violations()
        plan = self._rule(violations, request)
        start, end = range_of(violations, request)
        grid = plan.grid
        units = units_of(
            violations,
            "time_range",
            (start, end),
            grid.interval,
            grid.zone,
            Limit(MAXIMUM_WINDOWS, "windows"),
        )
        violations.raise_if_any()
        begun = [unit for unit in units if unit[0] >= start]
        if not begun:
            return pb.PreviewAlertResponse()
        first = begun[0][0]
        if plan.rule.needs_baseline:
            first = grid.back(first, plan.rule.baseline_offset)
        series = probe(self.sources[plan.source], Wanted(plan.query, first, end))
        return _response(plan, replay(plan, points(series), start))

    def _rule(self, violations: Violations, request: pb.PreviewAlertRequest) -> Plan:
        if request.HasField("definition"):
            definition = request.definition
        elif request.alert_id:
            with self.engine.begin() as connection:
                definition = alerts.read(connection, request.alert_id).definition
        else:
            violations.add("definition", "this or alert_id is required")
            violations.raise_if_any()
        plan = definitions.plan(violations, definition, self.reporting_zone, self.sources)
        violations.raise_if_any()
        return plan

    def ListReadyMadeRules(
        self, request: pb.ListReadyMadeRulesRequest, context: "grpc.ServicerContext"
    ) -> pb.ListReadyMadeRulesResponse:
        """List the rules."""
        return pb.ListReadyMadeRulesResponse(
            rules=[
                pb.ReadyMadeRule(
                    rule_id=rule.rule_id,
                    description=rule.description,
                    definition=rule.definition,
                    missing_labels=rule.missing_labels,
                    available=all(source in self.sources for source in rule.sources),
                )
                for rule in RULES
            ]
        )


def _response(plan: Plan, found: Replay) -> pb.PreviewAlertResponse:
    return pb.PreviewAlertResponse(
        windows=[_entry(plan, step) for step in found.steps],
        episodes=[
            pb.PreviewEpisode(
                fired_time=from_micros(fired), resolved_time=None if over is None else from_micros(over)
            )
            for fired, over in found.episodes
        ],
        judged_windows=found.judged,
        episodes_per_30_days=found.episodes_per_month,
        breach_ratio=found.breach_ratio,
    )


def _entry(plan: Plan, step: Step) -> alert_pb2.HistoryEntry:
    seen, state = step.seen, step.moved.state
    entry = alert_pb2.HistoryEntry(
        recorded_time=from_micros(seen.end + plan.grid.grace_micros),
        value=seen.value,
        baseline_value=seen.baseline,
        compared=seen.compared,
        threshold=plan.rule.threshold,
        sample_size=seen.sample,
        condition=alert_pb2.ConditionState.ValueType(state.condition),
        health=alert_pb2.HealthState.ValueType(state.health),
        reason=alert_pb2.TransitionReason.ValueType(step.moved.reason),
        episode=state.episode,
        notices=map(alert_pb2.NoticeKind.ValueType, step.moved.notices),
    )
    entry.window.start_time.CopyFrom(from_micros(seen.start))
    entry.window.end_time.CopyFrom(from_micros(seen.end))
    return entry
