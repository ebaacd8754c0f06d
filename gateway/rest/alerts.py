"""/api/analytics/alerts: what is watched, what fires and why, and who was told."""

from typing import TYPE_CHECKING, Final
from uuid import uuid4

from brain.alerts.v1 import alert_pb2
from brain.alerts.v1 import alerts_pb2 as pb

from gateway.rest.operations import Asked, Operation, of_body
from gateway.rest.parameters import Parameter, choice, number, text
from gateway.rest.reading import stamp
from gateway.rest.representation import descriptor_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from google.protobuf.message import Message

PATH: Final = "/api/analytics/alerts"
_SERVICE: Final = "brain.alerts.v1.AlertsService"

_ID = text("alertId", "Which alert.", required=True)
_OF = text("alertId", "Only of this alert. Default: of all.")
_CONDITION = choice(
    "condition",
    "Only alerts in this condition. Default: all.",
    {
        "ok": alert_pb2.CONDITION_STATE_OK,
        "pending": alert_pb2.CONDITION_STATE_PENDING,
        "firing": alert_pb2.CONDITION_STATE_FIRING,
        "recovering": alert_pb2.CONDITION_STATE_RECOVERING,
    },
)
_STATUS = choice(
    "status",
    "Only deliveries in this state. Default: all.",
    {
        "waiting": alert_pb2.DELIVERY_STATUS_WAITING,
        "delivered": alert_pb2.DELIVERY_STATUS_DELIVERED,
        "failed": alert_pb2.DELIVERY_STATUS_FAILED,
    },
)
_RECENT = number(
    "recentWindows", "How many of the latest judged windows to tell of each. Default: 0.", 0, 100
)
_CHANGES = choice(
    "changesOnly",
    "Only looks that changed something or were told. Default: false.",
    {"true": True, "false": False},
)
_UNEXPIRED = choice(
    "unexpiredOnly", "Only those that are not over. Default: false.", {"true": True, "false": False}
)
_LIMIT = number("limit", "How many on a page. Default: 100.", 1, 1_000)
_PAGE_TOKEN = text("pageToken", "The nextPageToken of the page before.")


def _list(asked: Asked) -> pb.ListAlertsRequest:
    condition = asked.given.maybe(_CONDITION)
    return pb.ListAlertsRequest(
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
        conditions=[] if condition is None else [condition],
        recent_windows=asked.given.one(_RECENT, 0),
    )


def _one(asked: Asked) -> pb.GetAlertRequest:
    return pb.GetAlertRequest(alert_id=asked.given.one(_ID, ""))


def _history(asked: Asked) -> pb.ListAlertHistoryRequest:
    return pb.ListAlertHistoryRequest(
        alert_id=asked.given.one(_ID, ""),
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
        changes_only=asked.given.one(_CHANGES, default=False),
    )


def _deliveries(asked: Asked) -> pb.ListDeliveriesRequest:
    status = asked.given.maybe(_STATUS)
    return pb.ListDeliveriesRequest(
        alert_id=asked.given.one(_OF, ""),
        statuses=[] if status is None else [status],
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
    )


def _silences(asked: Asked) -> pb.ListSilencesRequest:
    return pb.ListSilencesRequest(
        page_size=asked.given.one(_LIMIT, 0),
        page_token=asked.given.one(_PAGE_TOKEN, ""),
        unexpired_only=asked.given.one(_UNEXPIRED, default=False),
    )


def _rules(_: Asked) -> pb.ListReadyMadeRulesRequest:
    return pb.ListReadyMadeRulesRequest()


def _silence(asked: Asked) -> pb.CreateSilenceRequest:
    silence = of_body(alert_pb2.Silence)(asked)
    silence.silence_id = silence.silence_id or str(uuid4())
    if not silence.HasField("start_time"):
        silence.start_time.CopyFrom(stamp(asked.now))
    return pb.CreateSilenceRequest(silence=silence)


def _get(
    action: str,
    call: str,
    summary: str,
    parameters: "tuple[Parameter[Any], ...]",
    request: "Callable[[Asked], Message]",
) -> Operation:
    fields = {"page_size": "limit", "conditions": "condition", "statuses": "status"}
    return Operation("GET", PATH, action, f"{_SERVICE}.{call}", summary, parameters, request, fields=fields)


def _post(action: str, call: str, summary: str, body: "type[Message]") -> Operation:
    rpc = f"{_SERVICE}.{call}"
    return Operation("POST", PATH, action, rpc, summary, (), of_body(body), descriptor_of(body))


_PAGE = (_LIMIT, _PAGE_TOKEN)
OPERATIONS: Final = (
    _get("", "ListAlerts", "List alerts, those that fire first.", (_CONDITION, _RECENT, *_PAGE), _list),
    _get("one", "GetAlert", "Tell one alert and where it stands.", (_ID,), _one),
    _get(
        "history",
        "ListAlertHistory",
        "Tell why an alert fired or did not, newest first.",
        (_ID, _CHANGES, *_PAGE),
        _history,
    ),
    _get(
        "deliveries",
        "ListDeliveries",
        "Tell what was told to whom and what became of it, newest first.",
        (_OF, _STATUS, *_PAGE),
        _deliveries,
    ),
    _get(
        "silences",
        "ListSilences",
        "List silences, those that end last first.",
        (_UNEXPIRED, *_PAGE),
        _silences,
    ),
    _get("rules", "ListReadyMadeRules", "List ready-made rules to fill in and create.", (), _rules),
    _post("create", "CreateAlert", "Make an alert; its metric is read once.", pb.CreateAlertRequest),
    _post("update", "UpdateAlert", "Replace a definition; the alert begins anew.", pb.UpdateAlertRequest),
    _post("delete", "DeleteAlert", "Delete an alert with its history.", pb.DeleteAlertRequest),
    _post("pause", "PauseAlert", "Stop looking.", pb.PauseAlertRequest),
    _post("resume", "ResumeAlert", "Look again.", pb.ResumeAlertRequest),
    _post(
        "acknowledge",
        "AcknowledgeAlert",
        "Take care of what fires: it is told no more until its end.",
        pb.AcknowledgeAlertRequest,
    ),
    Operation(
        "POST",
        PATH,
        "silence",
        f"{_SERVICE}.CreateSilence",
        "Hold announcements; from now on where no startTime is given.",
        (),
        _silence,
        descriptor_of(alert_pb2.Silence),
        {"silence": ""},
    ),
    _post("expire_silence", "ExpireSilence", "End a silence now.", pb.ExpireSilenceRequest),
    _post(
        "test",
        "TestAlert",
        "Send a test to every recipient and tell what each answered.",
        pb.TestAlertRequest,
    ),
    _post("preview", "PreviewAlert", "Replay a rule over the past of its metric.", pb.PreviewAlertRequest),
)
