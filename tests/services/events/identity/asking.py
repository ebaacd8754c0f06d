"""What the tests of identity send and ask."""

import time
from collections.abc import Iterable

from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2 as pb
from brain.events.v1.identity_pb2 import LinkUserRequest, LinkUserResponse
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.events.conftest import Service

SECOND = 1_320_000_000  # 2011-10-30 18:40:00
ALL_TIME = TimeRange(start_time=Timestamp(seconds=1_300_000_000), end_time=Timestamp(seconds=1_330_000_000))


def event(
    name: str, *, user: str = "", anonymous: str = "", after: int = 0, what: str = "viewed"
) -> pb.Event:
    made = pb.Event(event_id=name, user_id=user, anonymous_id=anonymous, session_id="s", event=what)
    made.event_time.FromSeconds(SECOND + after)
    return made


def track(service: Service, *events: pb.Event) -> pb.TrackEventsResponse:
    return service.events.TrackEvents(pb.TrackEventsRequest(events=events))


def link(service: Service, user: str, anonymous: str) -> LinkUserResponse:
    return service.events.LinkUser(LinkUserRequest(user_id=user, anonymous_id=anonymous))


def counted(service: Service) -> tuple[int, int]:
    """Return events and people of all time."""
    [count] = service.events.CountEvents(pb.CountEventsRequest(time_range=ALL_TIME)).counts
    return count.events, count.users


def listed(service: Service, **question: str) -> list[pb.Event]:
    return list(service.events.QueryEvents(pb.QueryEventsRequest(page_size=1000, **question)).events)  # type: ignore[arg-type]  # names of text fields


def ids(events: Iterable[pb.Event]) -> list[str]:
    return sorted(each.event_id for each in events)


def key_of(service: Service, kind: "pb.UserKind.ValueType", name: str) -> int:
    reference = pb.UserReference(kind=kind, id=name)
    [found] = service.events.ResolveUsers(pb.ResolveUsersRequest(users=[reference])).users
    return found.user_key


def until_settled(service: Service) -> None:
    """Wait until no merge is asked for or pending."""
    end = time.monotonic() + 20
    asked = """
    SELECT (SELECT count(*) FROM merge_requests WHERE NOT refused)
         + (SELECT count(*) FROM identity_log WHERE pending)
    """
    while True:
        with service.engine.connect() as connection:
            if not connection.exec_driver_sql(asked).scalar_one():
                return
        assert time.monotonic() < end, "was not merged in time"
        time.sleep(0.01)
