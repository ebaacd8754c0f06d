"""The calls that tell what came of experiments, and decide them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.catalogue import Catalogue
from services.experiments.domain import Experiment, Metric, Status, may_become
from services.experiments.lifecycle import store as experiments
from services.experiments.lifecycle.calls import check_step
from services.experiments.results import store
from services.experiments.results.judging import objections
from services.experiments.results.messages import to_results, to_variant_result
from services.experiments.results.reader import ResultReader
from services.experiments.results.report import Lead, Report, adjusted_together, report
from services.experiments.results.segments import read_segments
from services.experiments.results.totals import Totals
from shared import audit
from shared.audit import AuditEntry
from shared.calendar import HOUR_MICROS, Interval, buckets
from shared.calls import current_caller
from shared.errors import AlreadyExists, FailedPrecondition
from shared.pagination import decode_token, encode_token
from shared.timestamps import from_micros
from shared.validation import Violations, page_size, text, time_zone

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    import grpc
    from sqlalchemy import Connection, Engine

MAXIMUM_DAYS = 120
_LONGEST_DAY = 27 * HOUR_MICROS
_OVER_TIME = "each day is a look; the sequential interval holds for all of them"


@dataclass(frozen=True)
class ResultCalls:
    """Reads results, declares winners, lists decisions."""

    engine: "Engine"
    catalogue: Catalogue
    reader: ResultReader
    clock: Callable[[], int]
    reporting_zone: "ZoneInfo"

    def GetResults(
        self, request: pb.GetResultsRequest, context: "grpc.ServicerContext"
    ) -> pb.GetResultsResponse:
        """Return everything about an experiment."""
        with self.engine.begin() as connection:
            started = _started(connection, request.experiment_key)
        self._mark_merged(started)
        with self._one_snapshot() as connection, connection.begin():
            experiment = _started(connection, request.experiment_key)
            found = self._report(connection, experiment)
            answer = pb.GetResultsResponse(results=to_results(experiment, found, self.clock()))
            if request.break_down_attribute:
                self._break_down(connection, experiment, request.break_down_attribute, answer)
        return answer

    def _break_down(
        self, connection: "Connection", experiment: Experiment, attribute: str, answer: pb.GetResultsResponse
    ) -> None:
        if attribute not in experiment.kept_attributes:
            violations = Violations()
            violations.add("break_down_attribute", f"is none that {experiment.key} keeps")
            violations.raise_if_any()
        segments, answer.left_out_values = read_segments(connection, experiment, attribute)
        reports = [
            report(
                experiment,
                self.reader.segment_totals(connection, experiment, segment.people),
                experiment.metrics,
            )
            for segment in segments
        ]
        for segment, found in zip(segments, adjusted_together(reports), strict=True):
            message = answer.segments.add(value=segment.value)
            message.results.CopyFrom(to_results(experiment, found, self.clock()))
            message.results.ClearField("recommendation")

    def GetResultsOverTime(
        self, request: pb.GetResultsOverTimeRequest, context: "grpc.ServicerContext"
    ) -> pb.GetResultsOverTimeResponse:
        """Return a metric as it stood at the end of each day."""
        violations = Violations()
        zone = time_zone(violations, "time_zone", request.time_zone, self.reporting_zone)
        violations.raise_if_any()
        now = self.clock()
        with self.engine.begin() as connection:
            started = _started(connection, request.experiment_key)
        self._mark_merged(started)
        with self._one_snapshot() as connection, connection.begin():
            kept = experiments.read(connection, request.experiment_key)
            experiment = _started(connection, request.experiment_key)
            metric = _metric(experiment, request.metric)
            completed = kept.completed_time
            last = now if completed is None else min(now, int(completed.timestamp() * 1_000_000))
            days = _day_ends(experiment.started_time or now, last, zone)
            ends = [min(end, now + 1) for end in days]
            course = self.reader.course(connection, experiment, [metric], ends)
        points = [
            _point(experiment, metric, totals, end, complete=end <= now)
            for totals, end in zip(course, ends, strict=True)
        ]
        return pb.GetResultsOverTimeResponse(points=points, time_zone=zone.key)

    def DeclareWinner(
        self, request: pb.DeclareWinnerRequest, context: "grpc.ServicerContext"
    ) -> pb.DeclareWinnerResponse:
        """Decide an experiment."""
        violations = Violations()
        text(violations, "decision_id", request.decision_id, maximum=100)
        text(violations, "variant", request.variant, maximum=100)
        text(violations, "override_reason", request.override_reason, maximum=2_000, required=False)
        violations.raise_if_any()
        self._prepare(request.experiment_key)
        with self._one_snapshot() as connection, connection.begin():
            # Before the snapshot, which the first statement that reads takes.
            experiments.take_turns(connection)
            experiment = experiments.read(connection, request.experiment_key).experiment
            before = store.find_decision(connection, request.decision_id)
            decision = before or self._decide(connection, experiment, request)
        self.catalogue.changed()
        if (decision.experiment_key, decision.variant) != (experiment.key, request.variant):
            raise AlreadyExists("another decision has this id", "DECISION_ALREADY_EXISTS")
        return pb.DeclareWinnerResponse(decision=decision)

    def _prepare(self, key: str) -> None:
        """Do what takes long, and may meet other writers, while nobody has to wait for it."""
        with self.engine.begin() as connection:
            experiment = experiments.read(connection, key).experiment
        if may_become(experiment.status, Status.COMPLETED):
            self._mark_merged(experiment)
            with self.engine.begin() as connection:
                self.reader.warm(connection, experiment)

    def _decide(
        self, connection: "Connection", experiment: Experiment, request: pb.DeclareWinnerRequest
    ) -> pb.Decision:
        check_step(experiment, Status.COMPLETED)
        metric = _metric(experiment, request.metric)
        _check_choice(experiment, metric, request.variant)
        found = self._report(connection, experiment)
        against = objections(experiment, found, metric.name, request.variant)
        if against and not request.override_reason:
            told = "; ".join(each.words for each in against)
            raise FailedPrecondition(f"{request.variant} is not declared: {told}", against[0].reason)
        now = self.clock()
        decision = pb.Decision(
            decision_id=request.decision_id,
            experiment_key=experiment.key,
            metric=metric.name,
            variant=request.variant,
            decided_time=from_micros(now),
            decided_by=current_caller().subject,
            override_reason=request.override_reason,
            objections=[f"{each.reason}: {each.words}" for each in against],
            results=to_results(experiment, found, now),
        )
        store.add_decision(connection, experiment, decision, now)
        experiments.step(connection, experiment.experiment_id, Status.COMPLETED, now, request.variant)
        entry = AuditEntry(
            decision.decided_by,
            "DeclareWinner",
            experiment.key,
            {"variant": request.variant, "overridden_objections": len(against)},
        )
        audit.record(connection, entry)
        return decision

    def ListDecisions(
        self, request: pb.ListDecisionsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListDecisionsResponse:
        """List decisions."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=20, maximum=100)
        after = decode_token(violations, request, request.page_token, (int,))
        text(violations, "experiment_key", request.experiment_key, maximum=100, required=False)
        violations.raise_if_any()
        before = cast("int", after[0]) if after else None
        with self.engine.begin() as connection:
            found = store.list_decisions(connection, request.experiment_key, before, size + 1)
        page = found[:size]
        token = encode_token(request, [page[-1].number]) if len(found) > size else ""
        return pb.ListDecisionsResponse(decisions=[each.decision for each in page], next_page_token=token)

    def _mark_merged(self, experiment: Experiment) -> None:
        """Follow merges now where events feed; elsewhere a chore does, and nobody waits."""
        if any(metric.feed for metric in experiment.metrics):
            self.reader.mark_merged(self.engine, experiment)

    def _report(self, connection: "Connection", experiment: Experiment) -> Report:
        totals = self.reader.totals(connection, experiment, experiment.metrics)
        return report(experiment, totals, experiment.metrics)

    def _one_snapshot(self) -> "Connection":
        """Return a connection whose statements of one transaction see the same moment."""
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ")


def _point(
    experiment: Experiment, metric: Metric, totals: Totals, end: int, *, complete: bool
) -> pb.ResultsPoint:
    [found] = report(experiment, totals, [metric], Lead.SEQUENTIAL).metrics
    return pb.ResultsPoint(
        end_time=from_micros(end),
        complete=complete,
        variants=[to_variant_result(each, _OVER_TIME) for each in found.variants],
    )


def _started(connection: "Connection", key: str) -> Experiment:
    experiment = experiments.read(connection, key).experiment
    if experiment.status is Status.DRAFT:
        raise FailedPrecondition(f"experiment {key} is a draft and has no results", "EXPERIMENT_DRAFT")
    return experiment


def _metric(experiment: Experiment, name: str) -> Metric:
    if not name:
        return experiment.primary
    metric = experiment.metric(name)
    if metric is None:
        violations = Violations()
        violations.add("metric", f"is none of {experiment.key}")
        violations.raise_if_any()
        raise AssertionError
    return metric


def _check_choice(experiment: Experiment, metric: Metric, variant: str) -> None:
    violations = Violations()
    if metric.guardrail:
        violations.add("metric", "is a guardrail")
    if experiment.position(variant) is None:
        violations.add("variant", f"is none of {experiment.key}")
    violations.raise_if_any()


def _day_ends(start: int, end: int, zone: "ZoneInfo") -> list[int]:
    """Return when each local day ended that touches [start, end], at most the last 120 of them."""
    earliest = max(start, end - MAXIMUM_DAYS * _LONGEST_DAY)
    return [high for _, high in buckets(earliest, end + 1, Interval.DAY, zone)][-MAXIMUM_DAYS:]
