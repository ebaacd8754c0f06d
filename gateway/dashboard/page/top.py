"""The most frequent events as bars."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from brain.events.v1 import events_pb2

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from gateway.dashboard.page.csv_files import Cell
    from gateway.dashboard.page.scope import Scope

SHOWN: Final = 10
EXPORTED: Final = 1_000
CSV_HEADER: Final = ("event", "events", "share_ratio", "people", "value_sum")


@dataclass(frozen=True, slots=True)
class Bar:
    """One event: its length is relative to the longest, its share to all events."""

    event: str
    events: str
    exact_events: int
    users: str
    share: str
    length_percent: float


@dataclass(frozen=True, slots=True)
class Top:
    """The bars, and how many events there are in all."""

    bars: tuple[Bar, ...]
    total: str


def request(shown: "Scope", limit: int = SHOWN) -> events_pb2.GetTopEventsRequest:
    """Return the question for the most frequent events."""
    return events_pb2.GetTopEventsRequest(time_range=shown.time_range(), limit=limit, with_users=True)


def top(answer: events_pb2.GetTopEventsResponse) -> Top:
    """Return the bars, longest first."""
    longest = max((one.events for one in answer.top_events), default=1)
    bars = tuple(
        Bar(
            event=one.event,
            events=formats.short(one.events),
            exact_events=one.events,
            users=formats.whole(one.users),
            share=formats.percent(one.share_ratio),
            length_percent=round(100 * one.events / longest, 2),
        )
        for one in answer.top_events
    )
    return Top(bars, formats.whole(answer.total_events))


def exported(answer: events_pb2.GetTopEventsResponse) -> "list[tuple[Cell, ...]]":
    """Return the rows of a CSV file with the columns of CSV_HEADER."""
    return [(one.event, one.events, one.share_ratio, one.users, one.value_sum) for one in answer.top_events]
