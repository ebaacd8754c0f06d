"""Tracking: a request's events are checked, queued, and answered for once they are committed."""

from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING
from uuid import UUID

from brain.events.v1 import events_pb2 as pb

from services.events.ingest.batch import Batch
from services.events.ingest.event_ids import original_id
from services.events.ingest.group_commit import GroupCommit
from services.events.ingest.incoming import Rejected, read
from services.events.ingest.writer import Outcome
from services.events.measures import Measures
from shared.calendar import to_datetime_utc
from shared.deadlines import remaining_seconds
from shared.errors import DeadlineExceeded, FieldViolation, InvalidArgument
from shared.timestamps import from_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.events.event_types import EventTypes

MAXIMUM_EVENTS = 5_000
MAXIMUM_BYTES = 4 * 1024 * 1024
COMMIT_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Tracked:
    """What became of a batch, and the server's clock in Unix µs."""

    accepted: int
    duplicates: int
    rejections: "Sequence[pb.Rejection]"
    received: int


class Tracking:
    """Takes events in."""

    def __init__(
        self,
        commits: GroupCommit,
        event_types: "EventTypes",
        admit: Callable[[int], None],
        clock: Callable[[], int],
        measures: Measures,
        earliest: Callable[[int], int | None] = lambda _now: None,
    ) -> None:
        """`admit` raises when so many events may not be taken in now; `earliest` is kept at an instant."""
        self._commits = commits
        self._event_types = event_types
        self._admit = admit
        self._clock = clock
        self._measures = measures
        self._earliest = earliest
        # Batches are read one after the other: threads that pass the interpreter to and fro in the middle of
        # theirs take a tenth longer.
        self._reading = Lock()

    def track(self, request: "pb.TrackEventsRequest | pb.TrackEventStreamRequest") -> Tracked:
        """Store a batch.

        Raises:
            InvalidArgument: the batch breaks a limit. Bad events are rejected, not raised.

        """
        _check_size(request)
        self.admit(len(request.events))
        return self.store(request.events)

    def admit(self, events: int) -> None:
        """Raise unless the caller may send so many events now: InvalidArgument or ResourceExhausted."""
        self._admit(events)

    def refuse(self, events: int) -> None:
        """Count events that were refused before they could be stored."""
        self._measures.count_batch(0, 0, events)

    def store(self, events: "Sequence[pb.Event]") -> Tracked:
        """Store at most MAXIMUM_EVENTS that were admitted. Bad events are rejected, not raised."""
        now = self._clock()
        batch, rejected = self._read(events, now)
        accepted = duplicates = 0
        if len(batch):
            outcome = self._commit(batch)
            accepted, duplicates = outcome.accepted, outcome.duplicates
            rejected += outcome.rejected
        rejected.sort(key=lambda each: each.index)
        self._measures.count_batch(accepted, duplicates, len({each.index for each in rejected}))
        rejections = [
            pb.Rejection(index=each.index, field=each.field, reason=each.reason) for each in rejected
        ]
        return Tracked(accepted, duplicates, rejections, now)

    def track_one(self, event: pb.Event) -> pb.TrackEventResponse:
        """Store one event.

        Raises:
            InvalidArgument: naming each bad field.

        """
        self.admit(1)
        now = self._clock()
        batch, rejected = self._read([event], now)
        self._raise_rejected(rejected)
        outcome = self._commit(batch)
        self._raise_rejected(outcome.rejected)
        self._measures.count_batch(outcome.accepted, outcome.duplicates, 0)
        return pb.TrackEventResponse(
            event_id=event.event_id or original_id(UUID(bytes=batch.ids[0]), None),
            event_time=from_micros(batch.times[0]),
            duplicate=not outcome.accepted,
            received_time=from_micros(now),
        )

    def _read(self, events: "Sequence[pb.Event]", now: int) -> tuple[Batch, list[Rejected]]:
        with self._reading:
            batch, rejected = read(events, now)
        names = set(batch.names)
        known = self._event_types.keys(names)
        if len(known) < len(names):
            reason = f"would be one event name and category more than {self._event_types.maximum:,}"
            rejected += [
                Rejected(index, "event", reason)
                for index, name in zip(batch.indexes, batch.names, strict=True)
                if name not in known
            ]
            batch = batch.take([row for row, name in enumerate(batch.names) if name in known])
        earliest = self._earliest(now)
        if earliest is not None and batch.times and min(batch.times) < earliest:
            batch, expired = _kept(batch, earliest)
            rejected += expired
        return batch, rejected

    def _raise_rejected(self, rejected: "Sequence[Rejected]") -> None:
        if rejected:
            self._measures.count_batch(0, 0, 1)
            raise InvalidArgument([FieldViolation(f"event.{each.field}", each.reason) for each in rejected])

    def _commit(self, batch: Batch) -> Outcome:
        try:
            return self._commits.submit(batch).result(min(COMMIT_SECONDS, remaining_seconds()))
        except FutureTimeoutError as error:
            message = "the events were not committed in time; they still may be"
            raise DeadlineExceeded(message, "COMMIT_TIMEOUT") from error


def _kept(batch: Batch, earliest: int) -> tuple[Batch, list[Rejected]]:
    """Leave out what is older than what is kept: it would come back after its month was dropped."""
    reason = f"is before {to_datetime_utc(earliest):%Y-%m-%d}, from where on events are kept"
    expired = [
        Rejected(index, "event_time", reason)
        for index, time in zip(batch.indexes, batch.times, strict=True)
        if time < earliest
    ]
    return batch.take([row for row, time in enumerate(batch.times) if time >= earliest]), expired


def _check_size(request: "pb.TrackEventsRequest | pb.TrackEventStreamRequest") -> None:
    number, size = len(request.events), request.ByteSize()
    reasons = []
    if not number:
        reasons.append("at least one event is required")
    if number > MAXIMUM_EVENTS:
        reasons.append(f"at most {MAXIMUM_EVENTS:,} events in a batch, not {number:,}")
    if size > MAXIMUM_BYTES:
        reasons.append(f"at most 4 MiB ({MAXIMUM_BYTES:,} bytes) in a batch, not {size:,}")
    if reasons:
        raise InvalidArgument([FieldViolation("events", reason) for reason in reasons])
