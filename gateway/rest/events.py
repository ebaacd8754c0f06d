"""/api/analytics/events: take an event in, list a person's, count, and rank them."""

from datetime import datetime
from typing import Final
from uuid import uuid4

from brain.common.v1 import common_pb2
from brain.events.v1 import events_pb2 as pb

from gateway.rest.operations import Asked, Operation
from gateway.rest.parameters import choice, number, text, texts
from gateway.rest.ranges import END, START, TIME_ZONE, asked_range, is_given
from gateway.rest.reading import fill, stamp
from gateway.rest.representation import descriptor_of
from shared.validation import Violations

PATH: Final = "/api/analytics/events"
_SERVICE: Final = "brain.events.v1.EventsService"
_RANGE_FIELDS: Final = {"time_range": ""}

_USER = text("userId", "Whose events. Default: who asks.")
_EVENTS = texts("event", "Only events of this name; may be repeated, up to 100 times. Default: all.")
_CATEGORY = text("category", "Only events of this category.")
_LIST_LIMIT = number("limit", "Events on a page. Default: 100.", 1, 1_000)
_GROUP_LIMIT = number("limit", "Groups on a page. Default: 100.", 1, 1_000)
_TOP_LIMIT = number("limit", "How many events to rank. Default: 10.", 1, 1_000)
_PAGE_TOKEN = text(
    "pageToken",
    "The nextPageToken of the page before, with the same other parameters: counts need a given range.",
)

_INTERVALS: Final = {
    "hour": common_pb2.INTERVAL_HOUR,
    "day": common_pb2.INTERVAL_DAY,
    "week": common_pb2.INTERVAL_WEEK,
    "month": common_pb2.INTERVAL_MONTH,
}
_GROUPS: Final = {
    "userId": pb.COUNT_GROUP_USER,
    "event": pb.COUNT_GROUP_EVENT,
    "category": pb.COUNT_GROUP_CATEGORY,
}
_GROUP_BY = choice(
    "groupBy",
    "Count over time by hour, day, week or month, or break down by userId, event or category. "
    "Default: a total.",
    {word: word for word in (*_INTERVALS, *_GROUPS)},
)


def _track(asked: Asked) -> pb.TrackEventRequest:
    violations = Violations()
    event = fill(violations, pb.Event(), asked.body)
    violations.raise_if_any()
    if not (event.user_id or event.anonymous_id):
        event.user_id = asked.caller.subject
    event.session_id = event.session_id or asked.session_id
    _identify(event, asked.now)
    return pb.TrackEventRequest(event=event)


def _identify(event: pb.Event, now: datetime) -> None:
    """Give an event what the sender left open, so that a call that is tried again stores it once."""
    if not event.event_id:
        event.event_id = str(uuid4())
        if not event.HasField("event_time"):
            event.event_time.CopyFrom(stamp(now))


def _list(asked: Asked) -> pb.QueryEventsRequest:
    given = asked.given
    return pb.QueryEventsRequest(
        user_id=given.one(_USER, asked.caller.subject),
        events=given.every(_EVENTS),
        category=given.one(_CATEGORY, ""),
        time_range=asked_range(asked) if is_given(asked) else None,
        page_size=given.one(_LIST_LIMIT, 0),
        page_token=given.one(_PAGE_TOKEN, ""),
    )


def _count(asked: Asked) -> pb.CountEventsRequest:
    given = asked.given
    group_by = given.one(_GROUP_BY, "")
    return pb.CountEventsRequest(
        events=given.every(_EVENTS),
        category=given.one(_CATEGORY, ""),
        time_range=asked_range(asked),
        time_zone=given.one(TIME_ZONE, ""),
        interval=_INTERVALS.get(group_by, common_pb2.INTERVAL_UNSPECIFIED),
        group_by=_GROUPS.get(group_by, pb.COUNT_GROUP_UNSPECIFIED),
        page_size=given.one(_GROUP_LIMIT, 0),
        page_token=given.one(_PAGE_TOKEN, ""),
    )


def _rank(asked: Asked) -> pb.GetTopEventsRequest:
    given = asked.given
    return pb.GetTopEventsRequest(
        time_range=asked_range(asked),
        category=given.one(_CATEGORY, ""),
        limit=given.one(_TOP_LIMIT, 0),
        with_users=True,
    )


_LIST_FIELDS = {**_RANGE_FIELDS, "events": "event", "page_size": "limit"}

OPERATIONS: Final = (
    Operation(
        "POST",
        PATH,
        "",
        f"{_SERVICE}.TrackEvent",
        "Store one event. Without userId and anonymousId it is of who asks; sessionId may come in the header "
        "X-Session-Id. Sending it again with its eventId and eventTime changes nothing.",
        (),
        _track,
        body=descriptor_of(pb.Event),
        fields={"event": ""},
        takes_session=True,
    ),
    Operation(
        "GET",
        PATH,
        "",
        f"{_SERVICE}.QueryEvents",
        "List a user's events, newest first.",
        (_USER, _EVENTS, _CATEGORY, START, END, _LIST_LIMIT, _PAGE_TOKEN),
        _list,
        fields=_LIST_FIELDS,
    ),
    Operation(
        "GET",
        PATH,
        "counts",
        f"{_SERVICE}.CountEvents",
        "Count events and people and sum values.",
        (_GROUP_BY, _EVENTS, _CATEGORY, START, END, TIME_ZONE, _GROUP_LIMIT, _PAGE_TOKEN),
        _count,
        fields=_LIST_FIELDS,
    ),
    Operation(
        "GET",
        PATH,
        "top",
        f"{_SERVICE}.GetTopEvents",
        "Rank the most frequent events.",
        (_CATEGORY, START, END, _TOP_LIMIT),
        _rank,
        fields=_RANGE_FIELDS,
    ),
)
