"""Purchases and contracts, read from the events service."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2

from services.forecasting.customers.contracts import Contracts, contracts
from services.forecasting.customers.histories import Purchases, daily
from shared.calendar import Interval, buckets
from shared.people import to_reference
from shared.timestamps import from_micros
from shared.who import PersonKind, Who

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from brain.events.v1.events_pb2_grpc import EventsServiceStub

# Keys from here on are visitors whom nobody knows.
_FIRST_SESSION_KEY = 2**30
_VALUE_SCALE = 1_000_000
_NO_VALUE = np.iinfo(np.int64).min
_RESOLVED_AT_ONCE = 10_000
T = TypeVar("T")


@dataclass(frozen=True)
class CustomerReader:
    """Reads what people did."""

    events: "EventsServiceStub"
    zone: "ZoneInfo"

    def purchases(
        self,
        events: Sequence[str],
        filters: Iterable[common_pb2.PropertyFilter],
        start: int,
        end: int,
    ) -> Purchases:
        """Return purchases in [start, end), joined by customer and day of the reporting zone."""
        found = self._scan(events, filters, start, end)
        days = buckets(start, max(end, start + 1), Interval.DAY, self.zone)
        return daily(found, np.array([first for first, _ in days], np.int64))

    def contracts(self, start_event: str, end_event: str, start: int, end: int) -> Contracts:
        """Return contracts of events in [start, end)."""
        begun, over = (self._scan([event], (), start, end) for event in (start_event, end_event))
        return contracts((begun.keys, begun.times), (over.keys, over.times))

    def who(self, keys: Sequence[int]) -> dict[int, Who]:
        """Return who keys stand for; those the events service does not know any more are left out."""
        return {
            each.asked_user_key if each.HasField("asked_user_key") else each.user_key: (
                PersonKind(each.user.kind),
                each.user.id,
            )
            for part in _parts(keys)
            for each in self.events.ResolveUsers(events_pb2.ResolveUsersRequest(user_keys=part)).users
        }

    def keys(self, people: Sequence[Who]) -> dict[Who, int]:
        """Return the keys of people; unknown ones are left out."""
        found: dict[Who, int] = {}
        for part in _parts(people):
            references = [to_reference(who) for who in part]
            reply = self.events.ResolveUsers(events_pb2.ResolveUsersRequest(users=references))
            found |= {(PersonKind(each.user.kind), each.user.id): each.user_key for each in reply.users}
        return found

    def _scan(
        self,
        events: Sequence[str],
        filters: Iterable[common_pb2.PropertyFilter],
        start: int,
        end: int,
    ) -> Purchases:
        request = events_pb2.ScanEventsRequest(
            events=events,
            time_range=common_pb2.TimeRange(start_time=from_micros(start), end_time=from_micros(end)),
            filters=filters,
            with_value=True,
        )
        columns: list[tuple[bytes, bytes, bytes]] = [
            (each.user_keys, each.event_times, each.values) for each in self.events.ScanEvents(request)
        ]
        keys, times, values = (
            np.frombuffer(b"".join(column[at] for column in columns), kind).astype(np.int64)
            for at, kind in enumerate(("<i4", "<i8", "<i8"))
        )
        wanted = (keys < _FIRST_SESSION_KEY) & (times >= start) & (times < end)
        amounts = np.where(values == _NO_VALUE, 0, values) / _VALUE_SCALE
        return Purchases(keys[wanted], times[wanted], amounts[wanted].astype(np.float64))


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[at : at + _RESOLVED_AT_ONCE] for at in range(0, len(items), _RESOLVED_AT_ONCE))


def day_start(moment: int, zone: "ZoneInfo") -> int:
    """Return where the day of a moment begins."""
    return buckets(moment, moment + 1, Interval.DAY, zone)[0][0]


def days_after(start: int, days: int, zone: "ZoneInfo") -> int:
    """Return where the day begins that is so many days after the one beginning at `start`."""
    following = buckets(start, start + (days + 2) * 90_000_000_000, Interval.DAY, zone)
    return [second[0] for _, second in pairwise(following)][days - 1]
