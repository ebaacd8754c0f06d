"""/api/analytics/ab-tests: run experiments, and read what came of them."""

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from brain.experiments.v1 import experiments_pb2 as pb

from gateway.rest.operations import Asked, Operation, of_body
from gateway.rest.parameters import choice, number, text
from gateway.rest.ranges import TIME_ZONE
from gateway.rest.reading import stamp
from gateway.rest.representation import descriptor_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

PATH: Final = "/api/analytics/ab-tests"
_SERVICE: Final = "brain.experiments.v1.ExperimentsService"

_KEY = text("experimentKey", "Which experiment.", required=True)
_METRIC = text("metric", "Which metric. Default: the primary one.")
_ATTRIBUTE = text("breakDownAttribute", "Results by the values of this attribute, too.")
_STATUS = choice(
    "status",
    "Only experiments in this state. Default: all.",
    {
        "draft": pb.EXPERIMENT_STATUS_DRAFT,
        "running": pb.EXPERIMENT_STATUS_RUNNING,
        "paused": pb.EXPERIMENT_STATUS_PAUSED,
        "completed": pb.EXPERIMENT_STATUS_COMPLETED,
    },
)
_LIMIT = number("limit", "Experiments on a page. Default: 100.", 1, 1_000)
_PAGE_TOKEN = text("pageToken", "The nextPageToken of the page before.")


def _list(asked: Asked) -> pb.ListExperimentsRequest:
    status = asked.given.maybe(_STATUS)
    return pb.ListExperimentsRequest(
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
        statuses=[] if status is None else [status],
        with_participants=True,
    )


def _results(asked: Asked) -> pb.GetResultsRequest:
    return pb.GetResultsRequest(
        experiment_key=asked.given.one(_KEY, ""), break_down_attribute=asked.given.one(_ATTRIBUTE, "")
    )


def _over_time(asked: Asked) -> pb.GetResultsOverTimeRequest:
    return pb.GetResultsOverTimeRequest(
        experiment_key=asked.given.one(_KEY, ""),
        metric=asked.given.one(_METRIC, ""),
        time_zone=asked.given.one(TIME_ZONE, ""),
    )


def _assign(asked: Asked) -> pb.AssignVariantRequest:
    request = of_body(pb.AssignVariantRequest)(asked)
    if not (request.person.user_id or request.person.anonymous_id):
        request.person.user_id = asked.caller.subject
    return request


def _convert(asked: Asked) -> pb.TrackConversionRequest:
    conversion = of_body(pb.Conversion)(asked)
    if not (conversion.person.user_id or conversion.person.anonymous_id):
        conversion.person.user_id = asked.caller.subject
    if not conversion.conversion_id:
        # A call that is tried again counts once.
        conversion.conversion_id = str(uuid4())
        if not conversion.HasField("conversion_time"):
            conversion.conversion_time.CopyFrom(stamp(asked.now))
    return pb.TrackConversionRequest(conversion=conversion)


def _declare(asked: Asked) -> pb.DeclareWinnerRequest:
    request = of_body(pb.DeclareWinnerRequest)(asked)
    request.decision_id = request.decision_id or str(uuid4())
    return request


def _post(
    action: str, call: str, summary: str, body: "type[Message]", request: "Callable[[Asked], Message]"
) -> Operation:
    rpc = f"{_SERVICE}.{call}"
    fields = {"conversion": ""}
    return Operation("POST", PATH, action, rpc, summary, (), request, descriptor_of(body), fields)


def _step(action: str, call: str, summary: str, body: "type[Message]") -> Operation:
    return _post(action, call, summary, body, of_body(body))


OPERATIONS: Final = (
    Operation(
        "GET",
        PATH,
        "",
        f"{_SERVICE}.ListExperiments",
        "List experiments with their participants, in the order of their keys.",
        (_STATUS, _LIMIT, _PAGE_TOKEN),
        _list,
        fields={"page_size": "limit", "statuses": "status"},
    ),
    Operation(
        "GET",
        PATH,
        "results",
        f"{_SERVICE}.GetResults",
        "Tell what came of each variant and what may be concluded.",
        (_KEY, _ATTRIBUTE),
        _results,
    ),
    Operation(
        "GET",
        PATH,
        "results_over_time",
        f"{_SERVICE}.GetResultsOverTime",
        "Tell a metric as it stood at the end of each day.",
        (_KEY, _METRIC, TIME_ZONE),
        _over_time,
    ),
    _step("create", "CreateExperiment", "Make a draft.", pb.CreateExperimentRequest),
    _step("start", "StartExperiment", "Start, or start again.", pb.StartExperimentRequest),
    _step("pause", "PauseExperiment", "Pause: nobody gets a variant.", pb.PauseExperimentRequest),
    _step("complete", "CompleteExperiment", "End for good, without a winner.", pb.CompleteExperimentRequest),
    _post(
        "assign",
        "AssignVariant",
        "Give somebody a variant, who asks where nobody is named; it stays.",
        pb.AssignVariantRequest,
        _assign,
    ),
    _post(
        "convert",
        "TrackConversion",
        "Note a conversion, of who asks where nobody is named; once for each conversionId.",
        pb.Conversion,
        _convert,
    ),
    _post(
        "declare",
        "DeclareWinner",
        "Declare a winner; refused with every reason unless overrideReason is given.",
        pb.DeclareWinnerRequest,
        _declare,
    ),
)
