"""A caller that costs little: batches serialised beforehand, several in flight, answers only counted."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from brain.events.v1.events_pb2 import TrackEventsRequest, TrackEventsResponse

from benchmarks import data
from benchmarks.data import Columns
from benchmarks.stack import Metadata, ServiceProcess

BATCH = 1_000
IN_FLIGHT = 12
TRACK_EVENTS = "/brain.events.v1.EventsService/TrackEvents"


@dataclass(frozen=True)
class Sent:
    """What became of events."""

    accepted: int
    duplicates: int


def batches(events: Columns, size: int = BATCH) -> list[bytes]:
    """Return the events as requests on the wire, so many in each."""
    return [TrackEventsRequest(events=data.messages(part)).SerializeToString() for part in events.parts(size)]


def replies_of(call: Any, requests: Sequence[bytes], metadata: Metadata) -> list[Any]:  # noqa: ANN401 - of any messages
    """Make all calls, some at a time, and wait for their answers; raise grpc.RpcError if one fails."""
    under_way: deque[Any] = deque()
    replies = []
    for request in requests:
        if len(under_way) == IN_FLIGHT:
            replies.append(under_way.popleft().result())
        under_way.append(call.future(request, metadata=metadata, timeout=60))
    return replies + [each.result() for each in under_way]


class Sender:
    """Sends batches to a service."""

    def __init__(self, service: ServiceProcess, channel: grpc.Channel) -> None:
        self._metadata = service.metadata
        self._call: grpc.UnaryUnaryMultiCallable[bytes, TrackEventsResponse] = channel.unary_unary(
            TRACK_EVENTS, request_serializer=None, response_deserializer=TrackEventsResponse.FromString
        )

    def send(self, requests: Sequence[bytes]) -> Sent:
        """Send them all and wait until each is committed; raise grpc.RpcError if one fails."""
        replies = replies_of(self._call, requests, self._metadata)
        rejected = [rejection for reply in replies for rejection in reply.rejections]
        if rejected:
            raise RuntimeError(f"{len(rejected)} rejected, the first because: {rejected[0]}")
        return Sent(sum(reply.accepted for reply in replies), sum(reply.duplicates for reply in replies))
