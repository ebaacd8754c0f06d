"""Event names and categories have keys, up to a limit."""

from collections.abc import Callable

import grpc
import pytest
from brain.events.v1 import events_pb2 as pb

from tests.services.events.conftest import Service


def event(name: str, category: str = "") -> pb.Event:
    return pb.Event(event=name, category=category, session_id="s")


def test_new_names_beyond_the_limit_are_rejected_and_the_rest_is_stored(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(maximum_event_types=2)
    reply = service.events.TrackEvents(pb.TrackEventsRequest(events=[event("a"), event("a", "x")]))
    assert (reply.accepted, list(reply.rejections)) == (2, [])

    reply = service.events.TrackEvents(
        pb.TrackEventsRequest(events=[event("b"), event("a"), event("a", "y")])
    )

    assert reply.accepted == 1
    assert [(each.index, each.field) for each in reply.rejections] == [(0, "event"), (2, "event")]
    assert "2" in reply.rejections[0].reason


def test_one_event_beyond_the_limit_is_an_invalid_argument(start_service: Callable[..., Service]) -> None:
    service = start_service(maximum_event_types=1)
    service.events.TrackEvent(pb.TrackEventRequest(event=event("a")))

    with pytest.raises(grpc.RpcError) as refused:
        service.events.TrackEvent(pb.TrackEventRequest(event=event("b")))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert str(refused.value.details()).startswith("event.event: ")
