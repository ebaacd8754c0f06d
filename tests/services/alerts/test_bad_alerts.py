"""What is wrong with a definition is said at once, all of it, by the names of the fields."""

import socket
from collections.abc import Callable
from functools import partial
from ipaddress import ip_network
from itertools import product
from math import inf, nan
from typing import Any

import grpc
import pytest
from brain.alerts.v1 import alerts_pb2 as pb
from brain.alerts.v1 import definition_pb2
from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub
from brain.common.v1 import common_pb2

from services.alerts.notify import guard
from shared.auth import Role, mint_token
from shared.errors import PermissionDenied, Unavailable
from tests.refusals import refusal
from tests.services.alerts.asking import create, definition, webhook
from tests.services.alerts.conftest import Service
from tests.services.alerts.scripted_source import Script

EQUAL = definition_pb2.ALERT_CONDITION_EQUAL_TO
CHANGE = definition_pb2.ALERT_CONDITION_CHANGE_RATIO
OUTSIDE = definition_pb2.ALERT_CONDITION_OUTSIDE_FORECAST
EMAIL, SLACK, SMS = (
    definition_pb2.CHANNEL_KIND_EMAIL,
    definition_pb2.CHANNEL_KIND_SLACK,
    definition_pb2.CHANNEL_KIND_SMS,
)


def metric(**changes: Any) -> definition_pb2.MetricReference:  # noqa: ANN401 - fields of the message
    made = definition().metric
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def filtered(value: str) -> definition_pb2.MetricReference:
    made = definition().metric
    made.filters.add(property="page").values.add(string_value=value)
    return made


def channel(kind: definition_pb2.ChannelKind.ValueType, *recipients: str) -> definition_pb2.Channel:
    return definition_pb2.Channel(kind=kind, recipients=recipients)


# Fields, the path that is named, a part of what is said.
BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"name": ""}, "name", "required"),
    ({"name": "Errors\r\nBcc: eve@example.com"}, "name", "control characters"),
    ({"name": "x" * 201}, "name", "at most 200"),
    ({"threshold": nan}, "threshold", "finite"),
    ({"threshold": inf}, "threshold", "finite"),
    ({"threshold": None}, "threshold", "required"),
    ({"condition": 0}, "condition", "required"),
    ({"condition": OUTSIDE}, "condition", "needs the service forecasting"),
    ({"condition": CHANGE, "threshold": 0.0}, "threshold", "must not be 0"),
    ({"recovery_threshold": 3.0}, "recovery_threshold", "does not breach"),
    ({"recovery_threshold": nan}, "recovery_threshold", "finite"),
    ({"condition": OUTSIDE, "recovery_threshold": -1.0}, "recovery_threshold", "0 or more"),
    ({"condition": EQUAL, "recovery_threshold": 1.0}, "recovery_threshold", "not for EQUAL_TO"),
    ({"condition": EQUAL, "tolerance": -1.0}, "tolerance", "0 or more"),
    ({"tolerance": 1.0}, "tolerance", "EQUAL_TO alone"),
    ({"baseline_offset_intervals": 2}, "baseline_offset_intervals", "CHANGE_RATIO alone"),
    ({"condition": CHANGE, "baseline_offset_intervals": 367}, "baseline_offset_intervals", "1 to 366"),
    ({"for_seconds": 3599}, "for_seconds", "is shorter than a window of 3,600 s"),
    ({"for_seconds": -1}, "for_seconds", "must be 0, or 3,600"),
    ({"keep_firing_for_seconds": 10**9}, "keep_firing_for_seconds", "must be 0, or 3,600"),
    ({"no_data_policy": 9}, "no_data_policy", "no meaning"),
    ({"min_sample": -1}, "min_sample", "0 or more"),
    ({"grace_seconds": -1}, "grace_seconds", "0 to"),
    ({"time_zone": "Mars/Olympus"}, "time_zone", "IANA"),
    ({"repeat_interval_seconds": 59}, "repeat_interval_seconds", "60 to"),
    ({"quiet_hours": [definition_pb2.QuietHours(start_minute=1440)]}, "quiet_hours[0].start_minute", "1439"),
    ({"quiet_hours": [definition_pb2.QuietHours(weekdays=[0])]}, "quiet_hours[0].weekdays", "1 (Monday)"),
    ({"labels": {"9": "x"}}, "labels[9]", "begins with no digit"),
    ({"labels": {"a": "x\n"}}, "labels[a]", "control characters"),
    ({"message": "${secret}"}, "message", "nothing replaces secret"),
    ({"message": "50 $"}, "message", "write $$"),
    ({"metric": metric(source="mars")}, "metric.source", "one of the services this one reads: events"),
    ({"metric": metric(interval=0)}, "metric.interval", "required"),
    ({"metric": metric(name="event_cuont")}, "metric.name", "there is event_count"),
    ({"metric": filtered("a\0b")}, "metric.filters", "NUL"),
    ({"channels": [channel(EMAIL, "nobody")]}, "channels[0].recipients[0]", "mail address"),
    ({"channels": [channel(EMAIL, "a@b.c\r\nBcc: e@f.g")]}, "channels[0].recipients[0]", "mail address"),
    ({"channels": [channel(SMS, "0151")]}, "channels[0].recipients[0]", "+4915112345678"),
    ({"channels": [channel(SMS, "+15550100")]}, "channels[0].kind", "do not say how"),
    ({"channels": [channel(SLACK, "http://127.0.0.1/")]}, "channels[0].recipients[0]", "must begin with"),
    ({"channels": [webhook()]}, "channels[0].recipients", "1 to 50"),
    ({"channels": [webhook("http://a.example", "http://a.example")]}, "channels[0].recipients[1]", "twice"),
    ({"channels": [webhook("http://127.0.0.1/"), webhook("http://127.0.0.1/")]}, "channels[1].kind", "twice"),
    ({"channels": [webhook("http://10.0.0.1/")]}, "channels[0].recipients[0]", "private or reserved"),
    ({"channels": [webhook("http://169.254.169.254/latest")]}, "channels[0].recipients[0]", "private"),
    ({"channels": [webhook("ftp://example.com/")]}, "channels[0].recipients[0]", "http:// or https://"),
    ({"channels": [webhook("http://a:b@example.com/")]}, "channels[0].recipients[0]", "user name"),
    ({"channels": [webhook("http://example.com/\r\nX: y")]}, "channels[0].recipients[0]", "control"),
    ({"channels": [channel(0, "a@example.com")]}, "channels[0].kind", "required"),  # type: ignore[arg-type]  # not said
]


def test_what_is_wrong_is_named(service: Service) -> None:
    for changes, field, said in BAD:
        refused = refusal(partial(create, service, **changes))
        assert refused.code is grpc.StatusCode.INVALID_ARGUMENT, changes
        assert said in refused.fields[f"definition.{field}"], (changes, refused.fields)
        besides = {"definition.channels[0].kind", "definition.condition"}  # what the settings leave out
        assert set(refused.fields) <= {f"definition.{field}", *besides}, changes


def test_everything_wrong_is_said_at_once(service: Service) -> None:
    request = pb.CreateAlertRequest(alert_id="", definition=definition(name="", threshold=nan))
    refused = refusal(lambda: service.alerts.CreateAlert(request))
    assert set(refused.fields) == {"alert_id", "definition.name", "definition.threshold"}
    empty = refusal(lambda: service.alerts.CreateAlert(pb.CreateAlertRequest(alert_id="a")))
    assert set(empty.fields) == {"definition"}


def test_alerts_are_made_once(service: Service) -> None:
    made = create(service)
    assert create(service) == made
    assert refusal(lambda: create(service, threshold=3.0)).reason == "ALERT_ALREADY_EXISTS"


def test_alerts_are_made_once_however_another_spells_the_address(
    start_service: Callable[..., Service],
) -> None:
    service = start_service(smtp_address="127.0.0.1:1", smtp_sender="brain@example.com")
    create(service, "first", channels=[channel(EMAIL, "Ann@Example.com")])
    made = create(service, "second", channels=[channel(EMAIL, "ann@example.com")])
    assert create(service, "second", channels=[channel(EMAIL, "ann@example.com")]) == made


def test_a_metric_that_cannot_be_checked_now_is_unavailable(
    start_service: Callable[..., Service], script: Script, token_keys: tuple[bytes, bytes]
) -> None:
    service = start_service(poll_seconds=0.3)
    script.fails_with = Unavailable("the database is away", "DATABASE_UNAVAILABLE")
    request = pb.CreateAlertRequest(alert_id="a", definition=definition())
    token = mint_token(token_keys[0], "test", [Role.ADMIN], None, 0)
    bearer = (("authorization", f"Bearer {token}"),)
    # Without the retries of our own channels.
    with grpc.insecure_channel(f"127.0.0.1:{service.application.server.port}") as calls:
        stub = AlertsServiceStub(calls)
        refused = refusal(lambda: stub.CreateAlert(request, metadata=bearer))
    assert refused.reason == "UPSTREAM_UNAVAILABLE"


def test_a_service_that_refuses_this_one_is_named(service: Service, script: Script) -> None:
    script.fails_with = PermissionDenied("no", "ROLE_MISSING")
    refused = refusal(lambda: create(service))
    assert (refused.code, refused.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SOURCE_REFUSES")


def test_receivers_that_take_no_connection_are_a_warning(service: Service) -> None:
    request = pb.CreateAlertRequest(
        alert_id="a", definition=definition(channels=[webhook("http://127.0.0.1:1/")])
    )
    [warning] = service.alerts.CreateAlert(request).warnings
    assert warning == "127.0.0.1:1 takes no connection now: Connection refused"


def test_unknown_alerts_are_said_to_be_unknown(service: Service) -> None:
    calls = ("GetAlert", "DeleteAlert", "PauseAlert", "ResumeAlert", "TestAlert", "ListAlertHistory")
    for call, alert_id in product(calls, ("nothing", "", "a\0b")):
        ask = partial(getattr(service.alerts, call), getattr(pb, f"{call}Request")(alert_id=alert_id))
        refused = refusal(ask)
        assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "ALERT_UNKNOWN"), (
            call,
            alert_id,
        )


def test_forged_page_tokens_are_refused(service: Service) -> None:
    for call in ("ListAlerts", "ListSilences", "ListDeliveries"):
        request = getattr(pb, f"{call}Request")(page_token="bm9uZQ", page_size=-1)
        refused = refusal(partial(getattr(service.alerts, call), request))
        assert set(refused.fields) == {"page_token", "page_size"}


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1:248:1893:25c8:1946", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
        ("fec0::1", False),
        ("3fff::1", False),
        ("5f00::1", False),
        ("::127.0.0.1", False),
    ],
)
def test_private_addresses_are_known_in_every_dress(address: str, *, is_public: bool) -> None:
    assert guard.is_public(address) == is_public


def test_hosts_are_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])

    def look_up(*_arguments: object, **_options: object) -> list[object]:
        return [(2, 1, 6, "", (address, 80)) for address in next(answers)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    local = ip_network("127.0.0.0/8")
    assert guard.resolve("http://rebinding.example/a?b", [local]).ip == "127.0.0.1"
    with pytest.raises(guard.ForbiddenError, match=r"10\.0\.0\.1"):
        guard.resolve("http://rebinding.example/", [local])


def test_a_host_that_leads_elsewhere_after_its_check_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [(2, 1, 6, "", ("10.0.0.1", 80))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: answer)
    assert "10.0.0.1" in str(guard.unreachable("http://rebinding.example/", []))


def test_months_are_windows_too(service: Service) -> None:
    made = create(service, metric=metric(interval=common_pb2.INTERVAL_MONTH), for_seconds=2_592_000)
    assert made.active
