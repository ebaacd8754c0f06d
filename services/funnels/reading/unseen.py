"""Warns of events that nobody ever sent: names are easily mistyped."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import events_pb2
from brain.funnels.v1 import funnels_pb2 as pb
from google.protobuf.timestamp_pb2 import Timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from brain.events.v1.events_pb2_grpc import EventsServiceStub

    from services.funnels.domain import Funnel

# All there can be: events lie between 2000 and a day ahead.
_EVER = TimeRange(start_time=Timestamp(seconds=946_684_800), end_time=Timestamp(seconds=4_102_444_800))
_EVENTS_AT_ONCE = 100
# Names that were seen are remembered, so many.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class UnseenEvents:
    """Asks the events service which events there are, about each until it was stored once."""

    events: "EventsServiceStub"
    _known: set[str] = field(default_factory=set)

    def warnings(self, funnel: "Funnel") -> list[pb.FunnelWarning]:
        """Return a warning for each event of a funnel that is not stored, by name."""
        names = sorted(funnel.events - self._known)
        seen = self._seen(names)
        if len(self._known) + len(seen) > _REMEMBERED:
            self._known.clear()
        self._known.update(seen)
        return [
            pb.FunnelWarning(
                reason="EVENT_NEVER_SEEN", event=name, message=f"no event {name!r} was ever stored"
            )
            for name in names
            if name not in seen
        ]

    def _seen(self, names: list[str]) -> set[str]:
        found: set[str] = set()
        for at in range(0, len(names), _EVENTS_AT_ONCE):
            request = events_pb2.CountEventsRequest(
                events=names[at : at + _EVENTS_AT_ONCE],
                time_range=_EVER,
                group_by=events_pb2.COUNT_GROUP_EVENT,
                page_size=1_000,
            )
            found |= _with_events(self.events.CountEvents(request).counts)
        return found


def _with_events(counts: "Iterable[events_pb2.EventCount]") -> set[str]:
    return {each.group for each in counts if each.events}
