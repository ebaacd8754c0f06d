"""The calls that give people their variants."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Struct, Value

from services.experiments.assigning.assigner import Assigner, Candidate, of_kept
from services.experiments.assigning.store import AssignmentStore, set_override
from services.experiments.catalogue import Assigned
from services.experiments.domain import Experiment, JsonValue, Status
from services.experiments.lifecycle import store as experiments
from services.experiments.people import who
from shared import audit
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.errors import FailedPrecondition, NotFound
from shared.json_values import struct_to_dict
from shared.timestamps import from_micros
from shared.validation import Violations
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Engine

MAXIMUM_CANDIDATES = 5_000
MAXIMUM_DEPTH = 16
_NO_ATTRIBUTES: Mapping[str, JsonValue] = {}


@dataclass(frozen=True)
class AssignmentCalls:
    """Assigns, tells what is assigned, overrides."""

    engine: "Engine"
    assigner: Assigner
    kept: AssignmentStore
    clock: Callable[[], int]

    def AssignVariant(
        self, request: pb.AssignVariantRequest, context: "grpc.ServicerContext"
    ) -> pb.AssignVariantResponse:
        """Return somebody's variant."""
        violations = Violations()
        person = who(violations, "person", request.person)
        attributes = read_attributes(violations, "attributes", request.attributes)
        violations.raise_if_any()
        experiment, [found] = self.assigner.assign(request.experiment_key, [(person, attributes)])
        return pb.AssignVariantResponse(assignment=to_message(experiment, person, found))

    def AssignVariants(
        self, request: pb.AssignVariantsRequest, context: "grpc.ServicerContext"
    ) -> pb.AssignVariantsResponse:
        """Return many variants."""
        violations = Violations()
        if not 1 <= len(request.candidates) <= MAXIMUM_CANDIDATES:
            violations.add("candidates", f"1 to {MAXIMUM_CANDIDATES:,}")
            violations.raise_if_any()
        candidates = _read_candidates(request.candidates)
        experiment, found = self.assigner.assign(request.experiment_key, candidates)
        answer = pb.AssignVariantsResponse()
        templates: dict[tuple[int, int | None], pb.Assignment] = {}
        for (person, _), assigned in zip(candidates, found, strict=True):
            kind = (assigned.reason, assigned.variant)
            if kind not in templates:
                templates[kind] = _without_person(experiment, assigned)
            message = answer.assignments.add()
            message.MergeFrom(templates[kind])
            _put_person(message, person, assigned)
        return answer

    def GetAssignment(
        self, request: pb.GetAssignmentRequest, context: "grpc.ServicerContext"
    ) -> pb.GetAssignmentResponse:
        """Return what is kept of somebody."""
        violations = Violations()
        person = who(violations, "person", request.person)
        violations.raise_if_any()
        with self.engine.begin() as connection:
            experiment = experiments.read(connection, request.experiment_key).experiment
        kept = self.kept.find(experiment, [person]).get(person)
        if kept is None:
            raise NotFound("nothing is kept of this person in this experiment", "ASSIGNMENT_UNKNOWN")
        answer = pb.GetAssignmentResponse(assignment=to_message(experiment, person, of_kept(kept)))
        if kept.exposed_time is not None:
            answer.exposed_time.CopyFrom(from_micros(kept.exposed_time))
        return answer

    def SetOverride(
        self, request: pb.SetOverrideRequest, context: "grpc.ServicerContext"
    ) -> pb.SetOverrideResponse:
        """Give somebody a variant, or take that back."""
        violations = Violations()
        person = who(violations, "person", request.person)
        violations.raise_if_any()
        user_key = self.kept.users.keys([person])[person]
        with self.engine.begin() as connection:
            experiments.take_turns(connection)
            experiment = experiments.read(connection, request.experiment_key).experiment
            if experiment.status is Status.COMPLETED:
                raise FailedPrecondition("the experiment is completed", "EXPERIMENT_COMPLETED")
            position = experiment.position(request.variant)
            if request.variant and position is None:
                violations.add("variant", "is no variant of this experiment")
                violations.raise_if_any()
            set_override(connection, experiment, user_key, position)
            experiments.touch(connection, experiment.experiment_id)
            details = {"variant": request.variant or None}
            audit.record(
                connection, AuditEntry(current_caller().subject, "SetOverride", experiment.key, details)
            )
        self.assigner.catalogue.changed()
        return pb.SetOverrideResponse()


def _read_candidates(messages: "Sequence[pb.Candidate]") -> list[Candidate]:
    """Return everybody with their attributes; raise InvalidArgument with all that is wrong."""
    scratch = Violations()
    candidates = [(who(scratch, "", each.person), _attributes_of(scratch, each)) for each in messages]
    if len(scratch):  # once more, with the names of fields, which take as long as the rest
        violations = Violations()
        for index, each in enumerate(messages):
            who(violations, f"candidates[{index}].person", each.person)
            read_attributes(violations, f"candidates[{index}].attributes", each.attributes)
        violations.raise_if_any()
    return candidates


def _attributes_of(violations: Violations, candidate: pb.Candidate) -> Mapping[str, JsonValue]:
    if not candidate.HasField("attributes"):
        return _NO_ATTRIBUTES
    return read_attributes(violations, "", candidate.attributes)


def read_attributes(violations: Violations, field: str, attributes: Struct) -> Mapping[str, JsonValue]:
    """Return attributes as Python values."""
    try:
        return struct_to_dict(attributes, MAXIMUM_DEPTH)
    except ValueError as error:
        violations.add(field, str(error))
        return _NO_ATTRIBUTES


def to_message(experiment: Experiment, person: Who, found: Assigned) -> pb.Assignment:
    """Return somebody's variant as a message."""
    message = _without_person(experiment, found)
    _put_person(message, person, found)
    return message


def _without_person(experiment: Experiment, found: Assigned) -> pb.Assignment:
    """Return what those with this variant and reason have in common."""
    message = pb.Assignment(reason=found.reason)
    if found.variant is not None:
        variant = experiment.variants[found.variant]
        message.variant = variant.name
        put_value(message.value, variant.value)
    return message


def _put_person(message: pb.Assignment, person: Who, found: Assigned) -> None:
    kind, name = person
    if kind is PersonKind.USER:
        message.person.user_id = name
    else:
        message.person.anonymous_id = name
    if found.assigned_time is not None:
        message.assigned_time.CopyFrom(from_micros(found.assigned_time))


def put_value(message: Value, value: JsonValue) -> None:
    """Fill a Value."""
    match value:
        case bool():
            message.bool_value = value
        case int() | float():
            message.number_value = value
        case str():
            message.string_value = value
        case dict():
            message.struct_value.SetInParent()  # an empty one is one, too
            message.struct_value.update(value)
        case _:
            raise TypeError("variants are strings, booleans, numbers or objects")
