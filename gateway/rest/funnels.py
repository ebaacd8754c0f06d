"""/api/analytics/funnels: make funnels, record steps, and read who went through."""

from typing import TYPE_CHECKING, Any, Final

from brain.common.v1 import common_pb2
from brain.events.v1.events_pb2 import USER_KIND_ANONYMOUS, USER_KIND_USER, UserReference
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1 import results_pb2

from gateway.rest.operations import Asked, Operation, of_body
from gateway.rest.parameters import choice, number, text, texts
from gateway.rest.ranges import END, START, TIME_ZONE, asked_range
from gateway.rest.reading import stamp
from gateway.rest.representation import descriptor_of
from shared.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from gateway.rest.parameters import Parameter

PATH: Final = "/api/analytics/funnels"
_SERVICE: Final = "brain.funnels.v1.FunnelsService"
_LAST_STEP: Final = 63

_FUNNEL = text("funnelId", "Which funnel.", required=True)
_ACTIVE = choice("active", "Leave out deactivated ones. Default: all.", {"true": True})
_LIMIT = number("limit", "How many on a page. Default: 100.", 1, 1_000)
_PAGE_TOKEN = text(
    "pageToken", "The nextPageToken of the page before, with the same other parameters, the range among them."
)
_ENTRY = choice(
    "entry",
    "Which attempts of a person may count: the best of all, or those that begin with the first event of the "
    "range. Default: best.",
    {"best": results_pb2.FUNNEL_ENTRY_BEST, "first": results_pb2.FUNNEL_ENTRY_FIRST},
)
_POPULATION = choice(
    "population",
    "Whom to count: everybody, users and anonymous ids, or signed-in users. Default: actors.",
    {
        "actors": results_pb2.FUNNEL_POPULATION_ACTORS,
        "people": results_pb2.FUNNEL_POPULATION_PEOPLE,
        "known": results_pb2.FUNNEL_POPULATION_KNOWN,
    },
)
_PROPERTY = text("property", "A property of the steps' events to break down by. Default: none.")
_ATTRIBUTION = choice(
    "attribution",
    "Which event of an attempt says its group. Default: first_touch.",
    {
        "first_touch": results_pb2.ATTRIBUTION_FIRST_TOUCH,
        "last_touch": results_pb2.ATTRIBUTION_LAST_TOUCH,
        "step": results_pb2.ATTRIBUTION_STEP,
    },
)
_ATTRIBUTION_STEP = number("attributionStep", "The step of attribution=step, from 0.", 0, _LAST_STEP)
_GROUPS = number("limit", "How many groups, those with the most people. Default: 10.", 1, 1_000)
_HISTOGRAMS = choice("histograms", "How the times between steps are spread, too.", {"true": True})
_POINTS = choice(
    "period",
    "A point for each hour, day, week or month too. Default: the total.",
    {
        "hour": common_pb2.INTERVAL_HOUR,
        "day": common_pb2.INTERVAL_DAY,
        "week": common_pb2.INTERVAL_WEEK,
        "month": common_pb2.INTERVAL_MONTH,
    },
)
_SEGMENTS = texts(
    "property", "A property to look for segments in; may be repeated. Default: those registered."
)
_LOST_STEP = number("step", "Whose losses to look at. Default: where most are lost.", 1, _LAST_STEP)
_STEP = number("step", "The step, from 0. Default: 0.", 0, _LAST_STEP)
_OUTCOME = choice(
    "outcome",
    "Who did the step, or the one before and not this one.",
    {"reached": results_pb2.STEP_OUTCOME_REACHED, "lost": results_pb2.STEP_OUTCOME_LOST},
    required=True,
)
_USER = text("userId", "Whose attempts. Default, without anonymousId: who asks.")
_ANONYMOUS = text("anonymousId", "Whose attempts, before they signed in.")
_RANGE = (START, END, _ENTRY)


def _list(asked: Asked) -> pb.ListFunnelsRequest:
    return pb.ListFunnelsRequest(
        active_only=asked.given.one(_ACTIVE, default=False),
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
    )


def _results(asked: Asked) -> pb.GetFunnelResultsRequest:
    given = asked.given
    return pb.GetFunnelResultsRequest(
        funnel_id=given.one(_FUNNEL, ""),
        time_range=asked_range(asked),
        entry=given.one(_ENTRY, results_pb2.FUNNEL_ENTRY_BEST),
        population=given.one(_POPULATION, results_pb2.FUNNEL_POPULATION_ACTORS),
        group_property=given.one(_PROPERTY, ""),
        attribution=given.one(_ATTRIBUTION, results_pb2.ATTRIBUTION_UNSPECIFIED),
        attribution_step=given.one(_ATTRIBUTION_STEP, 0),
        group_limit=given.one(_GROUPS, 0),
        with_histograms=given.one(_HISTOGRAMS, default=False),
    )


def _conversion(asked: Asked) -> pb.GetFunnelConversionRequest:
    given = asked.given
    return pb.GetFunnelConversionRequest(
        funnel_id=given.one(_FUNNEL, ""),
        time_range=asked_range(asked),
        entry=given.one(_ENTRY, results_pb2.FUNNEL_ENTRY_BEST),
        population=given.one(_POPULATION, results_pb2.FUNNEL_POPULATION_ACTORS),
        interval=given.one(_POINTS, common_pb2.INTERVAL_UNSPECIFIED),
        time_zone=given.one(TIME_ZONE, ""),
    )


def _dropoff(asked: Asked) -> pb.GetDropoffAnalysisRequest:
    given = asked.given
    return pb.GetDropoffAnalysisRequest(
        funnel_id=given.one(_FUNNEL, ""),
        time_range=asked_range(asked),
        entry=given.one(_ENTRY, results_pb2.FUNNEL_ENTRY_BEST),
        population=given.one(_POPULATION, results_pb2.FUNNEL_POPULATION_ACTORS),
        properties=given.every(_SEGMENTS),
        step=given.maybe(_LOST_STEP),
    )


def _users(asked: Asked) -> pb.ListStepUsersRequest:
    given = asked.given
    return pb.ListStepUsersRequest(
        funnel_id=given.one(_FUNNEL, ""),
        time_range=asked_range(asked),
        entry=given.one(_ENTRY, results_pb2.FUNNEL_ENTRY_BEST),
        population=given.one(_POPULATION, results_pb2.FUNNEL_POPULATION_ACTORS),
        step=given.one(_STEP, 0),
        outcome=given.one(_OUTCOME, results_pb2.STEP_OUTCOME_REACHED),
        page_size=given.one(_LIMIT, 0),
        page_token=given.one(_PAGE_TOKEN, ""),
    )


def _journey(asked: Asked) -> pb.GetUserJourneyRequest:
    given = asked.given
    anonymous = given.maybe(_ANONYMOUS)
    if anonymous is not None and given.maybe(_USER) is not None:
        raise InvalidArgument([FieldViolation(_ANONYMOUS.name, "stands for userId: give only one")])
    user = UserReference(kind=USER_KIND_USER, id=given.one(_USER, asked.caller.subject))
    if anonymous is not None:
        user = UserReference(kind=USER_KIND_ANONYMOUS, id=anonymous)
    return pb.GetUserJourneyRequest(
        funnel_id=given.one(_FUNNEL, ""),
        user=user,
        time_range=asked_range(asked),
        entry=given.one(_ENTRY, results_pb2.FUNNEL_ENTRY_BEST),
        page_size=given.one(_LIMIT, 0),
        page_token=given.one(_PAGE_TOKEN, ""),
    )


def _create(asked: Asked) -> pb.CreateFunnelRequest:
    made = of_body(pb.CreateFunnelRequest)(asked)
    given = asked.body.get("steps")
    if isinstance(given, list) and not any("order" in each for each in given if isinstance(each, dict)):
        # A list has an order of its own.
        for place, step in enumerate(made.steps):
            step.order = place
    return made


def _track(asked: Asked) -> pb.TrackFunnelStepRequest:
    step = of_body(pb.StepRecord)(asked)
    if not step.HasField("user"):
        step.user.CopyFrom(UserReference(kind=USER_KIND_USER, id=asked.caller.subject))
    if not step.HasField("step_time"):
        # A call that is tried again records it once.
        step.step_time.CopyFrom(stamp(asked.now))
    return pb.TrackFunnelStepRequest(step=step)


def _get(
    action: str,
    call: str,
    summary: str,
    parameters: "tuple[Parameter[Any], ...]",
    request: "Callable[[Asked], Message]",
) -> Operation:
    rpc = f"{_SERVICE}.{call}"
    names = _FIELDS if action != "results" else {**_FIELDS, "group_limit": "limit"}
    return Operation("GET", PATH, action, rpc, summary, parameters, request, fields=names)


_FIELDS: Final = {
    "time_range": "",
    "page_size": "limit",
    "group_property": "property",
    "properties": "property",
    "interval": "period",
    "user.id": "userId",
}

OPERATIONS: Final = (
    _get("", "ListFunnels", "List funnels by id.", (_ACTIVE, _LIMIT, _PAGE_TOKEN), _list),
    _get(
        "results",
        "GetFunnelResults",
        "Count who reached each step, in all and by a property.",
        (
            _FUNNEL,
            *_RANGE,
            _POPULATION,
            _PROPERTY,
            _ATTRIBUTION,
            _ATTRIBUTION_STEP,
            _GROUPS,
            _HISTOGRAMS,
        ),
        _results,
    ),
    _get(
        "conversion",
        "GetFunnelConversion",
        "Count who began and who finished, in all and by when they began.",
        (_FUNNEL, *_RANGE, _POPULATION, _POINTS, TIME_ZONE),
        _conversion,
    ),
    _get(
        "dropoff",
        "GetDropoffAnalysis",
        "Tell at which step most are lost, and in which segments significantly more than elsewhere.",
        (_FUNNEL, *_RANGE, _POPULATION, _SEGMENTS, _LOST_STEP),
        _dropoff,
    ),
    _get(
        "users",
        "ListStepUsers",
        "List who reached a step, or was lost before it.",
        (_FUNNEL, *_RANGE, _POPULATION, _STEP, _OUTCOME, _LIMIT, _PAGE_TOKEN),
        _users,
    ),
    _get(
        "journey",
        "GetUserJourney",
        "Tell every attempt of one user, and why it counts or not.",
        (_FUNNEL, _USER, _ANONYMOUS, *_RANGE, _LIMIT, _PAGE_TOKEN),
        _journey,
    ),
    Operation(
        "POST",
        PATH,
        "create",
        f"{_SERVICE}.CreateFunnel",
        "Make a funnel. Steps without orders take those of the list.",
        (),
        _create,
        descriptor_of(pb.CreateFunnelRequest),
    ),
    Operation(
        "POST",
        PATH,
        "track",
        f"{_SERVICE}.TrackFunnelStep",
        "Record that somebody did a step, who asks where nobody is named, now where no time is.",
        (),
        _track,
        descriptor_of(pb.StepRecord),
    ),
)
