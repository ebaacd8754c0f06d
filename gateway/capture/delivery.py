"""Passes captured events on to the events service, in batches it takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.events.v1.events_pb2 import Event, TrackEventsRequest

if TYPE_CHECKING:
    from gateway.measures import Measures
    from gateway.services import Services

# The service takes 5,000 events and 4 MiB.
_MAXIMUM_EVENTS: Final = 2_000
_MAXIMUM_BYTES: Final = 3 << 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message that was not stored: its place among those sent, from 0, the field at fault, and why."""

    index: int
    field: str
    reason: str


@dataclass(frozen=True)
class Delivery:
    """Sends with the gateway's own token."""

    services: "Services"
    token: str
    measures: "Measures"

    async def deliver(self, source: str, events: "Sequence[tuple[int, Event]]") -> list[Refusal]:
        """Store events, each with its place among those sent; return what the service refused.

        Raises grpc.aio.AioRpcError where it took none of the rest: then all may be sent again, for what is
        stored already counts as a duplicate.
        """
        refusals: list[Refusal] = []
        for batch in batches(events):
            request = TrackEventsRequest(events=[event for _, event in batch])
            answer = await self.services.ask(self.services.events.TrackEvents, request, self.token)
            self._count(source, "accepted", answer.accepted)
            self._count(source, "duplicate", answer.duplicates)
            refusals += [Refusal(batch[one.index][0], one.field, one.reason) for one in answer.rejections]
        return refusals

    def refused(self, source: str, refusals: Sequence[Refusal]) -> None:
        """Count messages that were refused, here or by the service."""
        self._count(source, "rejected", len({each.index for each in refusals}))

    def dropped(self, source: str, messages: int) -> None:
        """Count messages of browsers that ask not to be tracked."""
        self._count(source, "dropped", messages)

    def _count(self, source: str, outcome: str, events: int) -> None:
        self.measures.captured.labels(source, outcome).inc(events)


def batches(events: "Sequence[tuple[int, Event]]") -> "Iterator[Sequence[tuple[int, Event]]]":
    """Cut events into batches within the service's limits; one that is too large alone stays alone."""
    start = size = 0
    for position, (_, event) in enumerate(events):
        bytes_more = event.ByteSize() + 4
        if position > start and (position - start >= _MAXIMUM_EVENTS or size + bytes_more > _MAXIMUM_BYTES):
            yield events[start:position]
            start, size = position, 0
        size += bytes_more
    if start < len(events):
        yield events[start:]
