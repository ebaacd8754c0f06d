"""/api/analytics/metrics: numbers made of events."""

from typing import Final

from brain.events.v1 import events_pb2 as pb

from gateway.rest.operations import Asked, Operation
from gateway.rest.parameters import choice, texts
from gateway.rest.ranges import END, START, TIME_ZONE, asked_range, is_given

PATH: Final = "/api/analytics/metrics"
_SERVICE: Final = "brain.events.v1.EventsService"

_PERIOD = choice(
    "period",
    "How long somebody counts as active: a local day, the 7 or the 30 days ending with it; with a range a "
    "series of calendar days, weeks or months. Default: day.",
    {"day": pb.ACTIVE_PERIOD_DAY, "week": pb.ACTIVE_PERIOD_WEEK, "month": pb.ACTIVE_PERIOD_MONTH},
)
_EVENTS = texts("event", "Only people who did an event of this name; may be repeated. Default: any.")


def _active_users(asked: Asked) -> pb.GetActiveUsersRequest:
    return pb.GetActiveUsersRequest(
        period=asked.given.one(_PERIOD, pb.ACTIVE_PERIOD_DAY),
        time_range=asked_range(asked) if is_given(asked) else None,
        time_zone=asked.given.one(TIME_ZONE, ""),
        events=asked.given.every(_EVENTS),
    )


OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "active_users",
        f"{_SERVICE}.GetActiveUsers",
        "Count active people: of now, or of each period of a range.",
        (_PERIOD, START, END, TIME_ZONE, _EVENTS),
        _active_users,
        fields={"time_range": "", "events": "event"},
    ),
)
