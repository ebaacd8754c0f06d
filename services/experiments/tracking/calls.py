"""The calls that note what people saw and did."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from brain.experiments.v1 import experiments_pb2 as pb

from services.experiments.catalogue import Catalogue
from services.experiments.tracking.reading import Reader
from services.experiments.tracking.store import Fate, TrackingStore
from shared.errors import FailedPrecondition, InvalidArgument, ServiceError
from shared.validation import Violations

if TYPE_CHECKING:
    import grpc

MAXIMUM_BATCH = 5_000
_REFUSALS = {
    Fate.NOT_ASSIGNED: ("the person is not assigned in this experiment", "NOT_ASSIGNED"),
    Fate.NOT_EXPOSED: ("the person has not been exposed yet", "NOT_EXPOSED"),
    Fate.TOO_EARLY: ("the time lies before the person took part", "BEFORE_ASSIGNMENT"),
}

M = TypeVar("M")
T = TypeVar("T")


@dataclass(frozen=True)
class TrackingCalls:
    """Notes exposures and conversions."""

    catalogue: Catalogue
    kept: TrackingStore
    clock: Callable[[], int]

    def TrackExposure(
        self, request: pb.TrackExposureRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackExposureResponse:
        """Note one exposure."""
        [fate] = self.kept.add_exposures([self._one(self._reader().exposure, request.exposure, "exposure")])
        _raise_unless_taken(fate)
        return pb.TrackExposureResponse()

    def TrackExposures(
        self, request: pb.TrackExposuresRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackExposuresResponse:
        """Note many exposures."""
        _check_size("exposures", len(request.exposures))
        good, rejections = _read_each(self._reader().exposure, request.exposures)
        fates = self.kept.add_exposures(list(good.values()))
        rejections += _refused(good, fates)
        return pb.TrackExposuresResponse(
            accepted=fates.count(Fate.TAKEN), rejections=sorted(rejections, key=_index)
        )

    def TrackConversion(
        self, request: pb.TrackConversionRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackConversionResponse:
        """Note one conversion."""
        conversion = self._one(self._reader().conversion, request.conversion, "conversion")
        [fate], added = self.kept.add_conversions([conversion])
        _raise_unless_taken(fate)
        return pb.TrackConversionResponse(duplicate=not added)

    def TrackConversions(
        self, request: pb.TrackConversionsRequest, context: "grpc.ServicerContext"
    ) -> pb.TrackConversionsResponse:
        """Note many conversions."""
        _check_size("conversions", len(request.conversions))
        good, rejections = _read_each(self._reader().conversion, request.conversions)
        fates, added = self.kept.add_conversions(list(good.values()))
        rejections += _refused(good, fates)
        return pb.TrackConversionsResponse(
            accepted=added,
            duplicates=fates.count(Fate.TAKEN) - added,
            rejections=sorted(rejections, key=_index),
        )

    def _reader(self) -> Reader:
        return Reader(self.catalogue, self.clock())

    def _one(self, read: Callable[[M], T], message: M, field: str) -> T:
        try:
            return read(message)
        except InvalidArgument as error:
            within = Violations()
            for violation in error.violations:
                within.add(violation.field, violation.reason)
            within.raise_if_any(prefix=f"{field}.")
            raise


def _check_size(field: str, size: int) -> None:
    if not 1 <= size <= MAXIMUM_BATCH:
        violations = Violations()
        violations.add(field, f"1 to {MAXIMUM_BATCH:,}")
        violations.raise_if_any()


def _read_each(read: Callable[[M], T], messages: Iterable[M]) -> tuple[dict[int, T], list[pb.TrackRejection]]:
    """Return what is good by its position, and rejections of the rest."""
    good: dict[int, T] = {}
    rejections = []
    for index, message in enumerate(messages):
        try:
            good[index] = read(message)
        except InvalidArgument as error:
            rejections += [
                pb.TrackRejection(index=index, field=each.field, reason=each.reason)
                for each in error.violations
            ]
        except ServiceError as error:
            rejections.append(pb.TrackRejection(index=index, reason=error.message))
    return good, rejections


def _refused(good: "dict[int, T]", fates: Sequence[Fate]) -> list[pb.TrackRejection]:
    return [
        pb.TrackRejection(index=index, reason=_REFUSALS[fate][0])
        for index, fate in zip(good, fates, strict=True)
        if fate is not Fate.TAKEN
    ]


def _raise_unless_taken(fate: Fate) -> None:
    if fate is not Fate.TAKEN:
        raise FailedPrecondition(*_REFUSALS[fate])


def _index(rejection: pb.TrackRejection) -> int:
    return rejection.index
