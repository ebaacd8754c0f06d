"""Alerts over REST, before a real alerts service that watches a real events service."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from brain.events.v1 import events_pb2

from shared.auth import Role
from shared.timestamps import from_micros
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.services.alerts.conftest import HOUR, Service, running
from tests.services.events.conftest import Service as EventsService

PATH = "/api/analytics/alerts"
DEFINITION = {
    "name": "Errors",
    "metric": {
        "source": "events",
        "name": "event_count",
        "labels": {"event": "error_seen"},
        "interval": "hour",
    },
    "condition": "greater_than",
    "threshold": 2.0,
    "labels": {"on_call": "shop_team"},
}


@pytest.fixture
def analyst_file(tokens: dict[Role, str], tmp_path: Path) -> Path:
    path = tmp_path / "sources.token"
    path.write_text(tokens[Role.ANALYST])
    return path


@pytest.fixture
def alerts(
    service: EventsService,
    clock: Clock,
    alerts_database: str,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
    analyst_file: Path,
) -> Iterator[Service]:
    """A real alerts service at the real time, which reads from the events service."""
    with running(
        alerts_database,
        clock,
        token_keys[0],
        public_key_file,
        metric_sources={"events": f"127.0.0.1:{service.application.server.port}"},
        sources_token_file=analyst_file,
    ) as started:
        yield started


@pytest.fixture
def alerting(start_gateway: Callable[..., Gateway], alerts: Service) -> Gateway:
    return start_gateway(alerts_address=f"127.0.0.1:{alerts.application.server.port}")


@pytest.fixture
def client(alerting: Gateway) -> Iterator[httpx.Client]:
    with alerting.client() as made:
        yield made


def get(client: httpx.Client, action: str = "", **parameters: str | int) -> Any:  # noqa: ANN401 - JSON
    named = {"action": action} if action else {}
    answer = client.get(PATH, params={**named, **parameters})
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(client: httpx.Client, action: str, **body: object) -> Any:  # noqa: ANN401 - JSON
    answer = client.post(PATH, params={"action": action}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def hour(clock: Clock, ago: int) -> int:
    """When an hour began, counted back from the present one: Unix microseconds."""
    return (clock.micros // HOUR - ago) * HOUR


def errors(service: EventsService, clock: Clock, hours_ago: int, count: int) -> None:
    """So many errors in that hour."""
    made = [
        events_pb2.Event(
            event_id=f"e-{hours_ago}-{number}",
            user_id="ann",
            session_id="s",
            event="error_seen",
            event_time=from_micros(hour(clock, hours_ago) + number),
        )
        for number in range(count)
    ]
    assert not service.events.TrackEvents(events_pb2.TrackEventsRequest(events=made)).rejections


def test_an_alert_is_made_fires_and_is_taken_care_of(
    client: httpx.Client, alerts: Service, service: EventsService, clock: Clock
) -> None:
    errors(service, clock, 1, 5)
    made = post(client, "create", alertId="errors", definition=DEFINITION)["alert"]
    assert made["definition"]["metric"]["labels"] == {"event": "error_seen"}
    assert made["definition"]["labels"] == {"on_call": "shop_team"}
    assert (made["state"]["condition"], "latest" in made["state"]) == ("ok", False)
    assert alerts.look() == 1
    [firing] = get(client, condition="firing", recentWindows=10)["alerts"]
    assert [(each["value"], each["threshold"], each["reason"]) for each in firing["recent"]] == [
        (5.0, 2.0, "fired")
    ]
    assert get(client, condition="pending")["alerts"] == []
    known = post(client, "acknowledge", alertId="errors")["alert"]["state"]
    assert known["acknowledgedBy"] == "the-admin"
    [entry] = get(client, "history", alertId="errors", changesOnly="true")["entries"]
    assert (entry["reason"], entry["notices"], entry["sampleSize"]) == ("fired", ["fire"], 5)
    assert get(client, "deliveries", alertId="errors")["deliveries"] == []
    assert post(client, "test", alertId="errors") == {"results": []}
    assert post(client, "pause", alertId="errors")["alert"]["active"] is False
    assert post(client, "resume", alertId="errors")["alert"]["active"] is True
    higher = {**DEFINITION, "threshold": 9}
    assert (
        post(client, "update", alertId="errors", definition=higher)["alert"]["definition"]["threshold"] == 9
    )
    assert get(client, "one", alertId="errors")["alert"]["definition"]["threshold"] == 9
    assert post(client, "delete", alertId="errors") == {}
    assert client.get(PATH, params={"action": "one", "alertId": "errors"}).status_code == 404


def spelled(micros: int) -> str:
    return datetime.fromtimestamp(micros / 1e6, UTC).isoformat()


def test_a_rule_is_replayed_over_the_past(client: httpx.Client, service: EventsService, clock: Clock) -> None:
    for hours_ago, count in ((5, 1), (4, 3), (3, 4), (1, 3)):
        errors(service, clock, hours_ago, count)
    past = {"startTime": spelled(hour(clock, 5)), "endTime": spelled(hour(clock, 0))}
    found = post(client, "preview", definition=DEFINITION, timeRange=past)
    assert [each["value"] for each in found["windows"]] == [1, 3, 4, 0, 3]
    assert (len(found["episodes"]), found["breachRatio"]) == (2, 0.6)
    # A rise from nothing is infinite, which JSON cannot say.
    rising = {**DEFINITION, "condition": "change_ratio", "threshold": 0.5}
    windows = post(client, "preview", definition=rising, timeRange=past)["windows"]
    assert [each.get("compared") for each in windows] == [None, 2.0, 1 / 3, -1.0, None]
    assert [each["reason"] for each in windows][-1] == "fired"


def test_silences_begin_now_unless_told_otherwise(client: httpx.Client) -> None:
    ends = "2100-01-01T00:00:00Z"
    before = datetime.now(UTC)
    made = post(client, "silence", labels={"on_call": "shop_team"}, endTime=ends, comment="moving")["silence"]
    assert before <= datetime.fromisoformat(made["startTime"]) <= datetime.now(UTC)
    assert (made["labels"], made["createdBy"]) == ({"on_call": "shop_team"}, "the-admin")
    listed = get(client, "silences", unexpiredOnly="true")["silences"]
    assert [each["silenceId"] for each in listed] == [made["silenceId"]]
    post(client, "expire_silence", silenceId=made["silenceId"])
    bad = client.post(PATH, params={"action": "silence"}, json={"labels": {"a b": "x"}})
    assert {each["field"] for each in bad.json()["error"]["fields"]} >= {"endTime"}


def test_ready_made_rules_say_what_must_be_filled_in(client: httpx.Client) -> None:
    rules = {each["ruleId"]: each for each in get(client, "rules")["rules"]}
    assert rules["error-spike"]["missingLabels"] == ["event"]
    assert (rules["revenue-drop"]["available"], rules["outside-forecast"]["available"]) == (True, False)


def test_everything_that_is_wrong_is_told_by_the_callers_names(client: httpx.Client) -> None:
    metric = {**DEFINITION["metric"], "name": "event_cuont"}  # type: ignore[dict-item]  # it is an object
    bad = {**DEFINITION, "metric": metric, "forSeconds": 5, "timeZone": "Mars/Olympus"}
    answer = client.post(PATH, params={"action": "create"}, json={"alertId": "a b", "definition": bad})
    assert answer.status_code == 400
    fields = {each["field"] for each in answer.json()["error"]["fields"]}
    assert {"alertId", "definition.forSeconds", "definition.timeZone"} <= fields
    wrong = {"definition": {"labels": ["x"], "metric": {"labels": {"event": 5}}, "colour": 1}}
    answer = client.post(PATH, params={"action": "create"}, json=wrong)
    fields = {each["field"] for each in answer.json()["error"]["fields"]}
    assert fields == {"definition.labels", "definition.metric.labels.event", "definition.colour"}
    assert client.get(PATH, params={"action": "history"}).status_code == 400


def test_roles_are_those_of_the_calls(alerting: Gateway) -> None:
    with alerting.client(Role.ANALYST) as client:
        assert client.get(PATH).status_code == 200
        refused = client.post(PATH, params={"action": "pause"}, json={"alertId": "x"})
        assert refused.status_code == 403
        assert client.post(PATH, params={"action": "preview"}, json={"alertId": "x"}).status_code in {
            400,
            404,
        }
    with alerting.client(Role.INGEST) as client:
        assert client.get(PATH).status_code == 403
