"""`brain query retention`, `lifecycle` and `stickiness` against a real service."""

import json
from collections.abc import Callable

import pytest
from brain.events.v1 import events_pb2 as pb
from click.testing import CliRunner, Result

from brain_client.cli import main
from shared.auth import Role, mint_token
from tests.clock import Clock
from tests.services.events.conftest import Service

DAYS = ["--start", "2011-09-01", "--end", "2011-09-03", "--time-zone", "Asia/Kolkata"]


@pytest.fixture
def run(service: Service, token_keys: tuple[bytes, bytes], clock: Clock) -> Callable[..., Result]:
    """Two people signed up on the first; one of them looked around on the second."""
    for hour, who, event in ((1, "ann", "signed_up"), (2, "bob", "signed_up"), (25, "ann", "looked")):
        message = pb.Event(event_id=f"{hour}", session_id="s", user_id=who, event=event)
        message.event_time.FromSeconds(1_314_835_200 + hour * 3_600)
        service.events.TrackEvent(pb.TrackEventRequest(event=message))
    token = mint_token(token_keys[0], "ann", [Role.ANALYST], None, clock.micros / 1e6)
    address = f"127.0.0.1:{service.application.server.port}"

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--address", address, "--token", token, "query", *arguments])

    return invoke


def rows(result: Result) -> list[dict[str, object]]:
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_retention_of_each_cohort_and_on_average(run: Callable[..., Result]) -> None:
    asked = ["retention", "day", "--start-event", "signed_up", "--first-ever", "--day", "1", "--day", "90"]
    assert rows(run(*asked, *DAYS, "--json")) == [
        {"cohort": "2011-09-01", "users": 2, "day 1": 0.5, "day 90": None},
        {"cohort": "2011-09-02", "users": 0, "day 1": None, "day 90": None},
        {"cohort": "average", "day 1": 0.5, "day 90": None},
    ]
    assert "50.0%" in run(*asked, *DAYS).output


def test_returns_of_one_event_on_a_day_or_after(run: Callable[..., Result]) -> None:
    asked = ["retention", "week", "--return-event", "signed_up", "--or-after", "--day", "0", *DAYS, "--json"]
    [week, _] = rows(run(*asked))
    assert week == {"cohort": "2011-08-29", "users": 2, "day 0": 1.0}


def test_open_cohorts_are_marked(run: Callable[..., Result], clock: Clock) -> None:
    clock.micros = 1_314_950_400_000_000  # 2011-09-02 08:00
    assert "50.0% …" in run("retention", "day", "--day", "1", *DAYS).output


def test_life_cycles(run: Callable[..., Result]) -> None:
    found = rows(run("lifecycle", "day", *DAYS, "--json"))
    assert [(row["start"], row["new"], row["returning"], row["dormant"]) for row in found] == [
        ("2011-09-01", 2, 0, 0),
        ("2011-09-02", 0, 1, 1),
    ]
    assert [row["active"] for row in rows(run("lifecycle", "day", "--event", "looked", *DAYS, "--json"))] == [
        0,
        1,
    ]


def test_days_active(run: Callable[..., Result]) -> None:
    [week] = rows(run("stickiness", "week", *DAYS, "--json"))
    assert week == {
        "start": "2011-08-29",
        "users": 2,
        "average_days": 1.5,
        "stickiness_ratio": 1.5 / 7,
        "users_by_days": [1, 1, 0, 0, 0, 0, 0],
        "complete": True,
    }


def test_an_inverted_range_is_told_without_a_call(run: Callable[..., Result]) -> None:
    for command in ("retention", "lifecycle", "stickiness"):
        refused = run(command, "week", "--start", "2011-09-02", "--end", "2011-09-01")
        assert refused.exit_code == 2
        assert "--start must lie before --end" in refused.output
