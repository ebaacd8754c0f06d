"""Experiments as flags, for those who ask by our own contract."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.assigning.assigner import Assigner
from services.experiments.assigning.calls import put_value, read_attributes
from services.experiments.catalogue import Assigned
from services.experiments.domain import Experiment, JsonValue, Status
from services.experiments.people import who
from shared.validation import Violations
from shared.who import Who

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import grpc

MAXIMUM_KEYS = 100


@dataclass(frozen=True)
class FlagCalls:
    """Evaluates flags."""

    assigner: Assigner

    def EvaluateFlags(
        self, request: pb.EvaluateFlagsRequest, context: "grpc.ServicerContext"
    ) -> pb.EvaluateFlagsResponse:
        """Return what experiments are to somebody."""
        violations = Violations()
        person = who(violations, "person", request.person) if request.HasField("person") else None
        attributes = read_attributes(violations, "attributes", request.attributes)
        if len(request.experiment_keys) > MAXIMUM_KEYS:
            violations.add("experiment_keys", f"at most {MAXIMUM_KEYS}")
        violations.raise_if_any()
        flags = [
            self._flag(experiment, person, attributes) for experiment in self._asked(request.experiment_keys)
        ]
        return pb.EvaluateFlagsResponse(flags=flags)

    def _asked(self, keys: "Iterable[str]") -> list[Experiment]:
        named = list(dict.fromkeys(keys))
        if named:
            return [self.assigner.catalogue.with_experiment(key).experiment(key) for key in named]
        experiments = self.assigner.catalogue.snapshot().experiments
        shown = (
            one for one in experiments.values() if one.status is Status.RUNNING or one.winner is not None
        )
        return sorted(shown, key=lambda one: one.key)

    def _flag(
        self, experiment: Experiment, person: Who | None, attributes: "Mapping[str, JsonValue]"
    ) -> pb.Flag:
        assigned = _of_nobody(experiment)
        if person is not None:
            _, [assigned] = self.assigner.assign(experiment.key, [(person, attributes)])
        message = pb.Flag(
            experiment_key=experiment.key,
            reason=assigned.reason,
            is_whole_number=all(type(variant.value) is int for variant in experiment.variants),
        )
        if assigned.variant is not None:
            variant = experiment.variants[assigned.variant]
            message.variant = variant.name
            put_value(message.value, variant.value)
        return message


def _of_nobody(experiment: Experiment) -> Assigned:
    if experiment.winner is not None:
        return Assigned(pb.ASSIGNMENT_REASON_WINNER, experiment.position(experiment.winner))
    if experiment.status is Status.RUNNING:
        return Assigned(pb.ASSIGNMENT_REASON_UNSPECIFIED)
    return Assigned(pb.ASSIGNMENT_REASON_NOT_RUNNING)
