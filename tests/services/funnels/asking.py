"""Short ways to ask a running service."""

from collections.abc import Iterable

from brain.common.v1.common_pb2 import PropertyFilter, PropertyOperator, TimeRange
from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2
from google.protobuf.struct_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from tests.services.funnels.conftest import Service

DAY = 1_320_364_800  # 2011-11-04 00:00 UTC
MINUTE = 60
WEEK = 7 * 86_400


def stamp(second: float) -> Timestamp:
    """The time so many seconds after midnight of DAY."""
    found = Timestamp()
    found.FromMicroseconds(round((DAY + second) * 1_000_000))
    return found


def span(start: float = 0, end: float = WEEK) -> TimeRange:
    return TimeRange(start_time=stamp(start), end_time=stamp(end))


def event(number: int, who: str, name: str, second: float, **properties: str) -> events_pb2.Event:
    made = events_pb2.Event(
        event_id=f"e-{number}", user_id=who, session_id="s", event=name, event_time=stamp(second)
    )
    if properties:
        made.properties.update(properties)
    return made


def track(service: Service, events: Iterable[events_pb2.Event]) -> None:
    """Events on the wire in the order given, in batches."""
    listed = list(events)
    for at in range(0, len(listed), 5_000):
        request = events_pb2.TrackEventsRequest(events=listed[at : at + 5_000])
        assert not service.events.events.TrackEvents(request).rejections


def happened(service: Service, *histories: str) -> None:
    """Each history is a person (u-0, u-1 …): a letter a minute names an event, a dot is a minute without."""
    track(
        service,
        [
            event(1_000 * person + minute, f"u-{person}", letter, minute * MINUTE)
            for person, letters in enumerate(histories)
            for minute, letter in enumerate(letters)
            if letter != "."
        ],
    )


def equals(name: str, text: str) -> PropertyFilter:
    return PropertyFilter(
        property=name,
        operator=PropertyOperator.PROPERTY_OPERATOR_EQUALS,
        values=[Value(string_value=text)],
    )


def steps(names: Iterable[str]) -> list[pb.FunnelStep]:
    return [pb.FunnelStep(event=name, order=order) for order, name in enumerate(names)]


def create(service: Service, names: str = "ABC", **more: object) -> str:
    """Make a funnel of events with one letter each; return its id."""
    request = pb.CreateFunnelRequest(name="Checkout", steps=steps(names))
    request.MergeFrom(pb.CreateFunnelRequest(**more))  # type: ignore[arg-type]
    return service.funnels.CreateFunnel(request).funnel.funnel_id


def results(service: Service, funnel_id: str, **more: object) -> results_pb2.FunnelResults:
    request = pb.GetFunnelResultsRequest(funnel_id=funnel_id, time_range=span())
    if "time_range" in more:
        request.ClearField("time_range")
    request.MergeFrom(pb.GetFunnelResultsRequest(**more))  # type: ignore[arg-type]
    return service.funnels.GetFunnelResults(request).results


def users(found: Iterable[results_pb2.StepResult]) -> list[int]:
    return [step.users for step in found]


def user(name: str) -> events_pb2.UserReference:
    return events_pb2.UserReference(kind=events_pb2.USER_KIND_USER, id=name)


def record(funnel_id: str, step: int, name: str, second: float | None = None) -> pb.StepRecord:
    made = pb.StepRecord(funnel_id=funnel_id, step=step, user=user(name))
    if second is not None:
        made.step_time.CopyFrom(stamp(second))
    return made


def track_step(service: Service, *args: object) -> pb.TrackFunnelStepResponse:
    return service.funnels.TrackFunnelStep(pb.TrackFunnelStepRequest(step=record(*args)))  # type: ignore[arg-type]
