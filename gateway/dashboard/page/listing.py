"""Raw events as rows: the live feed and the time line of somebody."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from brain.events.v1 import events_pb2
from google.protobuf.json_format import MessageToDict

from gateway.dashboard.page import formats

if TYPE_CHECKING:
    from gateway.dashboard.page.csv_files import Cell

FEED_EVENTS: Final = 50
TIMELINE_EVENTS: Final = 100
EXPORTED_EVENTS: Final = 1_000
KINDS: Final = {"user": "User", "anonymous": "Anonymous id", "session": "Session"}
CSV_HEADER: Final = (
    "event_time",
    "event",
    "category",
    "value",
    "user_id",
    "anonymous_id",
    "session_id",
    "page",
    "referrer",
    "properties",
    "event_id",
)


@dataclass(frozen=True, slots=True)
class Row:
    """An event as it is shown."""

    time: str
    exact_time: str
    event: str
    category: str
    value: str
    who: str
    # "user", "anonymous" or "session".
    kind: str
    # The query that asks for this somebody's time line.
    query: str
    session: str
    page: str
    properties: str


def rows(events: Sequence[events_pb2.Event], zone: ZoneInfo) -> tuple[Row, ...]:
    """Return a row for each event."""
    return tuple(_row(event, zone) for event in events)


def newest(page_size: int) -> events_pb2.QueryEventsRequest:
    """Return the question for the newest events of all."""
    return events_pb2.QueryEventsRequest(page_size=page_size)


def of_somebody(
    kind: str, somebody: str, page_token: str = "", page_size: int = TIMELINE_EVENTS
) -> events_pb2.QueryEventsRequest:
    """Return the question for a page of somebody's events, newest first."""
    request = events_pb2.QueryEventsRequest(page_size=page_size, page_token=page_token)
    setattr(
        request, {"user": "user_id", "anonymous": "anonymous_id", "session": "session_id"}[kind], somebody
    )
    return request


def exported(events: Sequence[events_pb2.Event], zone: ZoneInfo) -> "list[tuple[Cell, ...]]":
    """Return the rows of a CSV file with the columns of CSV_HEADER."""
    return [
        (
            formats.exact_time(_moment(event), zone),
            event.event,
            event.category,
            event.value if event.HasField("value") else None,
            event.user_id,
            event.anonymous_id,
            event.session_id,
            event.page,
            event.referrer,
            _properties(event),
            event.event_id,
        )
        for event in events
    ]


def _row(event: events_pb2.Event, zone: ZoneInfo) -> Row:
    kind, who = _who(event)
    return Row(
        time=formats.time_of(_moment(event), zone),
        exact_time=formats.exact_time(_moment(event), zone),
        event=event.event,
        category=event.category,
        value=f"{event.value:,.2f}" if event.HasField("value") else "",
        who=who,
        kind=KINDS[kind],
        query=urlencode({"kind": kind, "id": who}),
        session=event.session_id,
        page=event.page,
        properties=_properties(event),
    )


def _who(event: events_pb2.Event) -> tuple[str, str]:
    if event.user_id:
        return "user", event.user_id
    if event.anonymous_id:
        return "anonymous", event.anonymous_id
    return "session", event.session_id


def _moment(event: events_pb2.Event) -> datetime:
    return formats.moment(event.event_time)


def _properties(event: events_pb2.Event) -> str:
    if event.HasField("properties"):
        return json.dumps(MessageToDict(event.properties), ensure_ascii=False)
    return event.properties_json
