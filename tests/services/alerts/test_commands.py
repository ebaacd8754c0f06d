"""`brain alerts` against a running service."""

import json
from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from google.protobuf.json_format import MessageToJson

from brain_client.cli import main
from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.alerts.asking import definition, webhook
from tests.services.alerts.conftest import HOUR, START, Service
from tests.services.alerts.receivers import Receiver
from tests.services.alerts.scripted_source import Script

Run = Callable[..., Result]


@pytest.fixture
def run(service: Service, token_keys: tuple[bytes, bytes]) -> Run:
    token = mint_token(token_keys[0], "ana", [Role.ADMIN], None, 0)
    address = f"127.0.0.1:{service.application.server.port}"

    def invoke(*arguments: str, standard_input: str | None = None) -> Result:
        options = ["--token", token, "alerts", "--alerts-address", address]
        return CliRunner().invoke(main, [*options, *arguments], input=standard_input)

    return invoke


def rows(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.output.splitlines()]


def test_an_alert_is_run_from_a_terminal(
    run: Run, service: Service, clock: Clock, script: Script, receiver: Receiver
) -> None:
    made = MessageToJson(definition(channels=[webhook(receiver.url)]))
    assert run("create", "errors", "-", standard_input=made).output == "errors is ok\n"
    [tested] = rows(run("test", "errors", "--json"))
    assert (tested["channel"], tested["delivered"], tested["answer"]) == ("webhook", True, "200 told 200")
    script.otherwise = 9.0
    clock.micros = START + HOUR
    service.look()
    service.tell()
    [listed] = rows(run("list", "--firing", "--json"))
    assert (listed["alert"], listed["condition"], listed["compared"]) == ("errors", "firing", 9)
    assert run("acknowledge", "errors").output == "errors: ana takes care of episode 1\n"
    newest, oldest = rows(run("history", "errors", "--json"))
    assert (newest["reason"], oldest["reason"], newest["value"]) == ("fired", "skipped", 9)
    [told] = rows(run("deliveries", "--alert", "errors", "--json"))
    assert (told["notice"], told["status"], told["attempts"]) == ("fire", "delivered", 1)
    assert json.loads(run("show", "errors").output)["definition"]["threshold"] == 2
    assert run("pause", "errors").output == "errors is paused\n"
    assert run("resume", "errors").output == "errors is ok\n"
    changed = MessageToJson(definition(threshold=5.0))
    assert run("update", "errors", "-", standard_input=changed).output == "errors is ok\n"
    assert run("delete", "errors").output == "errors is deleted\n"
    assert "ALERT_UNKNOWN" in run("pause", "errors").output


def test_a_ready_made_rule_is_previewed(run: Run, script: Script) -> None:
    found = json.loads(run("rule", "error-spike", "--label", "event=error").output)
    assert found["metric"]["labels"] == {"event": "error"}
    script.values |= {START - 3 * HOUR: 5.0}
    bounds = ("--start", "2011-11-11T00:00Z", "--end", "2011-11-11T08:00Z")
    shown = run("preview", "-", *bounds, standard_input=json.dumps(found)).output.splitlines()
    assert shown[0] == "fires from 2011-11-11T06:00:00Z to 2011-11-11T08:00:00Z"
    assert shown[1].startswith("1 episodes in 8 judged windows, 90 in 30 days")
    assert len(rows(run("rules", "--json"))) == 8
    assert "give --label event=" in run("rule", "error-spike").output


def test_silences_come_and_go(run: Run, service: Service) -> None:
    made = run("silence", "--hours", "2", "--comment", "deploying").output
    silence_id = made.split()[0]
    assert run("unsilence", silence_id).output == f"{silence_id} is over\n"
    assert "is no AlertDefinition" in run("create", "x", "-", standard_input="{").output
