"""The calls that make experiments and move them through their life."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

from services.experiments.catalogue import Catalogue
from services.experiments.domain import Experiment, Status, may_become
from services.experiments.lifecycle import definitions, store
from services.experiments.lifecycle.store import Kept
from shared import audit
from shared.attempts import is_retry
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.errors import AlreadyExists, FailedPrecondition
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import grpc
    from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class LifecycleCalls:
    """Makes, changes, starts, pauses, completes and lists experiments."""

    engine: "Engine"
    catalogue: Catalogue
    clock: Callable[[], int]
    # Whether there is an events service to read from.
    reads_events: bool

    def CreateExperiment(
        self, request: pb.CreateExperimentRequest, context: "grpc.ServicerContext"
    ) -> pb.CreateExperimentResponse:
        """Keep a draft."""
        violations = Violations()
        definitions.key(violations, "key", request.key)
        if not request.HasField("definition"):
            violations.add("definition", "is required")
        definitions.check(violations, "definition", request.definition)
        self._check_feeds(violations, "definition.metrics", request.definition.metrics)
        violations.raise_if_any()
        shares = [round(each.allocation_percent * 100) for each in request.definition.variants]
        with self.engine.begin() as connection:
            store.take_turns(connection)
            kept = store.find(connection, request.key)
            if kept is None:
                store.add(connection, request.key, request.definition, shares, self.clock())
                _record(connection, "CreateExperiment", request.key)
                kept = store.read(connection, request.key)
            elif kept.definition != request.definition:
                raise AlreadyExists(
                    f"another experiment has the key {request.key!r}", "EXPERIMENT_ALREADY_EXISTS"
                )
        self.catalogue.changed()
        return pb.CreateExperimentResponse(experiment=to_message(kept))

    def _check_feeds(self, violations: Violations, field: str, metrics: "Sequence[pb.Metric]") -> None:
        for index, metric in enumerate(metrics):
            if metric.HasField("feed") and not self.reads_events:
                violations.add(f"{field}[{index}].feed", "this service knows no events service to read from")

    def UpdateExperiment(
        self, request: pb.UpdateExperimentRequest, context: "grpc.ServicerContext"
    ) -> pb.UpdateExperimentResponse:
        """Change allocation, coverage or metrics."""
        violations = Violations()
        if request.HasField("coverage_percent"):
            definitions.hundredths(violations, "coverage_percent", request.coverage_percent)
        if request.metrics:
            definitions.check_metrics(violations, "metrics", request.metrics)
            self._check_feeds(violations, "metrics", request.metrics)
        percents = [each.allocation_percent for each in request.allocation]
        if percents:
            definitions.check_shares(violations, "allocation", percents)
        violations.raise_if_any()
        with self.engine.begin() as connection:
            store.take_turns(connection)
            kept = store.read(connection, request.experiment_key)
            if kept.experiment.status is Status.COMPLETED:
                raise _wrong_step(kept.experiment, "be changed")
            self._update(connection, kept, request)
            _record(connection, "UpdateExperiment", request.experiment_key)
            kept = store.read(connection, request.experiment_key)
        self.catalogue.changed()
        return pb.UpdateExperimentResponse(experiment=to_message(kept))

    def _update(self, connection: "Connection", kept: Kept, request: pb.UpdateExperimentRequest) -> None:
        definition = kept.definition
        experiment_id = kept.experiment.experiment_id
        if request.allocation:
            percents = _in_order(definition, request.allocation)
            for variant, percent in zip(definition.variants, percents, strict=True):
                variant.allocation_percent = percent
            store.allocate(connection, experiment_id, [round(percent * 100) for percent in percents])
        if request.HasField("coverage_percent"):
            definition.coverage_percent = request.coverage_percent
        if request.metrics:
            del definition.metrics[:]
            definition.metrics.extend(request.metrics)
        store.redefine(connection, experiment_id, definition)

    def StartExperiment(
        self, request: pb.StartExperimentRequest, context: "grpc.ServicerContext"
    ) -> pb.StartExperimentResponse:
        """Start, or start again."""
        stepped = self._step(request.experiment_key, Status.RUNNING, again=is_retry(context))
        return pb.StartExperimentResponse(experiment=stepped)

    def PauseExperiment(
        self, request: pb.PauseExperimentRequest, context: "grpc.ServicerContext"
    ) -> pb.PauseExperimentResponse:
        """Pause."""
        stepped = self._step(request.experiment_key, Status.PAUSED, again=is_retry(context))
        return pb.PauseExperimentResponse(experiment=stepped)

    def CompleteExperiment(
        self, request: pb.CompleteExperimentRequest, context: "grpc.ServicerContext"
    ) -> pb.CompleteExperimentResponse:
        """End for good."""
        stepped = self._step(request.experiment_key, Status.COMPLETED, again=is_retry(context))
        return pb.CompleteExperimentResponse(experiment=stepped)

    def _step(self, key: str, status: Status, *, again: bool) -> pb.Experiment:
        with self.engine.begin() as connection:
            store.take_turns(connection)
            kept = store.read(connection, key)
            experiment = kept.experiment
            if again and experiment.status is status:
                return to_message(kept)
            check_step(experiment, status)
            if status is Status.RUNNING:
                _refuse_overlap(experiment, store.read_all(connection))
            store.step(connection, experiment.experiment_id, status, self.clock())
            _record(connection, f"{_VERBS[status].capitalize()}Experiment", key)
            changed = store.read(connection, key)
        self.catalogue.changed()
        return to_message(changed)

    def GetExperiment(
        self, request: pb.GetExperimentRequest, context: "grpc.ServicerContext"
    ) -> pb.GetExperimentResponse:
        """Return an experiment."""
        with self.engine.begin() as connection:
            kept = store.read(connection, request.experiment_key)
        return pb.GetExperimentResponse(experiment=to_message(kept))

    def ListExperiments(
        self, request: pb.ListExperimentsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListExperimentsResponse:
        """List experiments."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (str,))
        for index, status in enumerate(request.statuses):
            if status not in {each.value for each in Status}:
                violations.add(f"statuses[{index}]", f"has no meaning for the value {status}")
        violations.raise_if_any()
        last = cast("str", after[0]) if after else None
        with self.engine.begin() as connection:
            found = store.list_kept(connection, last, request.statuses, size + 1)
            page = found[:size]
            numbers = [each.experiment.experiment_id for each in page]
            counted = store.participants(connection, numbers) if request.with_participants else None
        token = encode_token(request, [page[-1].experiment.key]) if len(found) > size else ""
        messages = list(map(to_message, page))
        if counted is not None:
            for number, message in zip(numbers, messages, strict=True):
                message.participants = counted.get(number, 0)
        return pb.ListExperimentsResponse(experiments=messages, next_page_token=token)


_VERBS = {Status.RUNNING: "start", Status.PAUSED: "pause", Status.COMPLETED: "complete"}


def check_step(experiment: Experiment, status: Status) -> None:
    """Raise FailedPrecondition unless an experiment may take this step."""
    if not may_become(experiment.status, status):
        raise _wrong_step(experiment, f"{_VERBS[status]}")


def _wrong_step(experiment: Experiment, what: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"experiment {experiment.key} is {experiment.status.name.lower()}, so it cannot {what}",
        f"EXPERIMENT_{experiment.status.name}",
    )


def _refuse_overlap(experiment: Experiment, others: "Sequence[Experiment]") -> None:
    part = experiment.namespace_slice
    for other in others:
        holds = other.status in {Status.RUNNING, Status.PAUSED} and other.key != experiment.key
        if part and holds and other.namespace_slice and part.overlaps(other.namespace_slice):
            raise FailedPrecondition(
                f"experiment {other.key} holds a part of this slice of namespace {part.namespace}",
                "NAMESPACE_TAKEN",
            )


def _in_order(
    definition: pb.ExperimentDefinition, allocation: "Sequence[pb.VariantAllocation]"
) -> list[float]:
    percents = {each.variant: each.allocation_percent for each in allocation}
    names = [variant.name for variant in definition.variants]
    if sorted(each.variant for each in allocation) != sorted(names):
        violations = Violations()
        violations.add("allocation", f"must name every variant once: {', '.join(names)}")
        violations.raise_if_any()
    return [percents[name] for name in names]


def _record(connection: "Connection", action: str, key: str) -> None:
    audit.record(connection, AuditEntry(current_caller().subject, action, key, {}))


_STATUSES = {
    Status.DRAFT: pb.EXPERIMENT_STATUS_DRAFT,
    Status.RUNNING: pb.EXPERIMENT_STATUS_RUNNING,
    Status.PAUSED: pb.EXPERIMENT_STATUS_PAUSED,
    Status.COMPLETED: pb.EXPERIMENT_STATUS_COMPLETED,
}


def to_message(kept: Kept) -> pb.Experiment:
    """Return an experiment as a message."""
    message = pb.Experiment(
        key=kept.experiment.key,
        definition=kept.definition,
        status=_STATUSES[kept.experiment.status],
        winner=kept.experiment.winner or "",
        created_time=stamp(kept.created_time),
    )
    if kept.started_time:
        message.started_time.CopyFrom(stamp(kept.started_time))
    if kept.completed_time:
        message.completed_time.CopyFrom(stamp(kept.completed_time))
    return message


def stamp(instant: "datetime") -> Timestamp:
    """Return an instant as a message."""
    made = Timestamp()
    made.FromDatetime(instant)
    return made
