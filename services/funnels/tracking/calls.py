"""The calls that record steps."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from brain.funnels.v1 import funnels_pb2 as pb

from services.funnels.keeping import store
from services.funnels.keeping.store import Kept
from services.funnels.tracking.store import Fate, Record, RecordStore
from shared.calendar import HOUR_MICROS
from shared.errors import FailedPrecondition, InvalidArgument, ServiceError
from shared.people import UserDictionary, who_of
from shared.timestamps import from_micros
from shared.validation import Violations, instant

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Connection, Engine

MAXIMUM_BATCH = 5_000
EARLIEST_MICROS = 946_684_800_000_000  # 2000-01-01
# People's clocks, and their time zones mistaken for UTC.
AHEAD_MICROS = 24 * HOUR_MICROS


@dataclass(frozen=True)
class TrackingCalls:
    """Records steps."""

    engine: "Engine"
    users: UserDictionary
    records: RecordStore
    clock: Callable[[], int]

    def TrackFunnelStep(
        self, request: pb.TrackFunnelStepRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackFunnelStepResponse:
        """Record one step."""
        now = self.clock()
        added, outcomes = self._track([request.step], now)
        if isinstance(outcomes[0], ServiceError):
            raise outcomes[0]
        return pb.TrackFunnelStepResponse(duplicate=not added, step_time=from_micros(outcomes[0].time))

    def TrackFunnelSteps(
        self, request: pb.TrackFunnelStepsRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackFunnelStepsResponse:
        """Record many steps."""
        if not 1 <= len(request.steps) <= MAXIMUM_BATCH:
            violations = Violations()
            violations.add("steps", f"1 to {MAXIMUM_BATCH:,}")
            violations.raise_if_any()
        added, outcomes = self._track(request.steps, self.clock())
        taken = sum(isinstance(each, Record) for each in outcomes)
        return pb.TrackFunnelStepsResponse(
            accepted=added,
            duplicates=taken - added,
            rejections=[
                rejection
                for index, each in enumerate(outcomes)
                if isinstance(each, ServiceError)
                for rejection in _rejections(index, each)
            ],
        )

    def _track(self, steps: Sequence[pb.StepRecord], now: int) -> tuple[int, list[Record | ServiceError]]:
        """Return how many records are new, and each record or why there is none."""
        wanted = {step.funnel_id for step in steps}
        with self.engine.begin() as connection:
            kept = store.hold(connection, wanted)
            outcomes = self._refuse_erased(connection, [_outcome(step, kept, now) for step in steps])
        records = [each for each in outcomes if isinstance(each, Record)]
        if not records:
            return 0, outcomes
        self.users.keys([each.who for each in records])
        with self.engine.begin() as connection:
            kept = store.hold(connection, wanted)  # until this transaction ends
            outcomes = [
                _outcome(step, kept, now) if isinstance(each, Record) else each
                for step, each in zip(steps, outcomes, strict=True)
            ]
            records = [each for each in outcomes if isinstance(each, Record)]
            return self.records.add(connection, records), outcomes

    def _refuse_erased(
        self, connection: "Connection", outcomes: list[Record | ServiceError]
    ) -> list[Record | ServiceError]:
        """Return the outcomes with errors in place of records of people who were erased since."""
        records = [each for each in outcomes if isinstance(each, Record)]
        fates = iter(self.records.fates(connection, records))
        return [
            _erased() if isinstance(each, Record) and next(fates) is Fate.ERASED else each
            for each in outcomes
        ]


def _outcome(step: pb.StepRecord, kept: Mapping[str, Kept], now: int) -> Record | ServiceError:
    """Return a record, or why it cannot be taken."""
    try:
        return _record(step, kept, now)
    except ServiceError as error:
        return error


def _record(step: pb.StepRecord, kept: Mapping[str, Kept], now: int) -> Record:
    violations = Violations()
    person = who_of(violations, "user", step.user)
    time = now
    if step.HasField("step_time"):
        time = instant(violations, "step_time", step.step_time) or 0
        if not EARLIEST_MICROS <= time <= now + AHEAD_MICROS:
            violations.add("step_time", "must lie between 2000 and 24 hours ahead")
    violations.raise_if_any()
    found = kept.get(step.funnel_id)
    if found is None:
        raise store.unknown(step.funnel_id)
    if not 0 <= step.step < len(found.funnel.steps):
        violations.add("step", "is no step of the funnel")
        violations.raise_if_any()
    if not found.message.active:
        raise FailedPrecondition(
            f"funnel {step.funnel_id} is inactive and takes no more records", "FUNNEL_INACTIVE"
        )
    assert found.funnel.number is not None, "it is kept"
    return Record(found.funnel.number, step.step, person, time)


def _erased() -> FailedPrecondition:
    return FailedPrecondition("erased: the user was erased after step_time", "USER_ERASED")


def _rejections(index: int, error: ServiceError) -> list[pb.StepRejection]:
    if isinstance(error, InvalidArgument):
        return [
            pb.StepRejection(index=index, field=each.field, reason=each.reason) for each in error.violations
        ]
    return [pb.StepRejection(index=index, reason=error.message)]
