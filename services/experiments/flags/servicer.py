"""flagd's evaluation service: experiments as flags."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from brain.experiments.v1 import experiments_pb2
from flagd.evaluation.v2 import evaluation_pb2 as pb
from flagd.evaluation.v2.evaluation_pb2_grpc import ServiceServicer
from google.protobuf.struct_pb2 import Struct

from services.experiments.assigning.assigner import Assigner
from services.experiments.assigning.calls import read_attributes
from services.experiments.catalogue import Assigned
from services.experiments.domain import Experiment, JsonValue, Status
from services.experiments.flags.streams import EventStreams
from services.experiments.people import MAXIMUM_ID
from shared.errors import FieldViolation, InvalidArgument
from shared.validation import Violations, text
from shared.who import PersonKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import grpc

_TARGETING_KEY: Final = "targetingKey"
# SPLIT where flagd's providers must not cache: STATIC they keep for everybody.
_REASONS: Final = {
    experiments_pb2.ASSIGNMENT_REASON_SPLIT: "SPLIT",
    experiments_pb2.ASSIGNMENT_REASON_OVERRIDE: "TARGETING_MATCH",
    experiments_pb2.ASSIGNMENT_REASON_WINNER: "STATIC",
    experiments_pb2.ASSIGNMENT_REASON_NOT_RUNNING: "DISABLED",
}
_DEFAULT: Final = "DEFAULT"

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class _Flag:
    """What an experiment is to somebody; without a variant the caller's default holds."""

    reason: str
    variant: str | None = None
    value: JsonValue = None


@dataclass(frozen=True)
class FlagServicer(ServiceServicer):
    """Evaluates flags, tells when they change."""

    assigner: Assigner
    streams: EventStreams

    def ResolveAll(
        self, request: pb.ResolveAllRequest, context: "grpc.ServicerContext"
    ) -> pb.ResolveAllResponse:
        """Evaluate every experiment that runs or has a winner."""
        answer = pb.ResolveAllResponse()
        for experiment in self.assigner.catalogue.snapshot().experiments.values():
            if experiment.status is Status.RUNNING or experiment.winner is not None:
                flag = self._evaluate(experiment, request.context)
                message = pb.AnyFlag(reason=flag.reason, variant=flag.variant)
                _put_any(message, flag)
                answer.flags[experiment.key].CopyFrom(message)
        return answer

    def ResolveBoolean(
        self, request: pb.ResolveBooleanRequest, context: "grpc.ServicerContext"
    ) -> pb.ResolveBooleanResponse:
        """Evaluate a boolean."""
        return self._resolved(request, "boolean", pb.ResolveBooleanResponse)

    def ResolveString(
        self, request: pb.ResolveStringRequest, context: "grpc.ServicerContext"
    ) -> pb.ResolveStringResponse:
        """Evaluate a string."""
        return self._resolved(request, "string", pb.ResolveStringResponse)

    def ResolveFloat(
        self, request: pb.ResolveFloatRequest, context: "grpc.ServicerContext"
    ) -> pb.ResolveFloatResponse:
        """Evaluate a number."""
        return self._resolved(request, "number", pb.ResolveFloatResponse)

    def ResolveInt(
        self, request: pb.ResolveIntRequest, context: "grpc.ServicerContext"
    ) -> pb.ResolveIntResponse:
        """Evaluate a whole number."""
        return self._resolved(request, "whole number", pb.ResolveIntResponse)

    def ResolveObject(
        self, request: pb.ResolveObjectRequest, context: "grpc.ServicerContext"
    ) -> pb.ResolveObjectResponse:
        """Evaluate an object."""
        return self._resolved(request, "object", pb.ResolveObjectResponse)

    def EventStream(
        self,
        request: pb.EventStreamRequest,
        context: "grpc.ServicerContext",
        send: "Callable[[pb.EventStreamResponse | None], None] | None" = None,
    ) -> "Iterator[pb.EventStreamResponse]":
        """Tell what happens, without a thread of its own: see shared.idle_streams."""
        assert send is not None, "marked as non-blocking"
        self.streams.open(context, send)
        return iter(())

    # How grpc knows it.
    EventStream.experimental_non_blocking = True  # type: ignore[attr-defined]

    def _resolved(
        self,
        request: Any,  # noqa: ANN401 - one of flagd's five requests
        kind: str,
        answer: "Callable[..., Answer]",
    ) -> "Answer":
        experiment = self.assigner.catalogue.with_experiment(request.flag_key).experiment(request.flag_key)
        if not all(_FITS[kind](variant.value) for variant in experiment.variants):
            raise InvalidArgument([FieldViolation("flag_key", f"the values of this flag are no {kind}s")])
        flag = self._evaluate(experiment, request.context)
        return answer(reason=flag.reason, variant=flag.variant, value=flag.value)

    def _evaluate(self, experiment: Experiment, context: Struct) -> _Flag:
        violations = Violations()
        attributes = read_attributes(violations, "context", context)
        name = attributes.get(_TARGETING_KEY)
        if isinstance(name, str) and name:
            text(violations, f"context.{_TARGETING_KEY}", name, maximum=MAXIMUM_ID)
        violations.raise_if_any()
        if isinstance(name, str) and name:
            person = (PersonKind.USER, name)
            _, [assigned] = self.assigner.assign(experiment.key, [(person, attributes)])
            return _to_flag(experiment, assigned)
        # Nobody in particular: a winner is for them too, anything else is not.
        return _of_nobody(experiment)


def _to_flag(experiment: Experiment, assigned: Assigned) -> _Flag:
    if assigned.variant is None:
        return _Flag(_REASONS.get(assigned.reason, _DEFAULT))
    variant = experiment.variants[assigned.variant]
    return _Flag(_REASONS[assigned.reason], variant.name, variant.value)


def _of_nobody(experiment: Experiment) -> _Flag:
    if experiment.status is Status.RUNNING:
        return _Flag(_DEFAULT)
    if experiment.winner is None:
        return _Flag("DISABLED")
    variant = experiment.variants[experiment.position(experiment.winner) or 0]
    return _Flag("STATIC", variant.name, variant.value)


def _put_any(message: pb.AnyFlag, flag: _Flag) -> None:
    match flag.value:
        case bool():
            message.bool_value = flag.value
        case str():
            message.string_value = flag.value
        case int() | float():
            message.double_value = flag.value
        case Mapping():
            message.object_value.SetInParent()  # an empty one is one, too
            message.object_value.update(flag.value)


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: JsonValue) -> bool:
    # What is too large for a double to be exact is no whole number on the wire either.
    return isinstance(value, int) and not isinstance(value, bool)


_FITS: "Final[Mapping[str, Callable[[JsonValue], bool]]]" = {
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "number": _is_number,
    "whole number": _is_whole,
    "object": lambda value: isinstance(value, dict),
}
