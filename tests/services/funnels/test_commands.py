"""`brain funnels` against a running service."""

import json
from collections.abc import Callable

import pytest
from brain.funnels.v1 import funnels_pb2 as pb
from click.testing import CliRunner, Result
from google.protobuf.json_format import MessageToJson

from brain_client.cli import main
from shared.auth import Role, mint_token
from tests.services.funnels.asking import equals, happened, steps
from tests.services.funnels.conftest import Service

Run = Callable[..., Result]
RANGE = ("--start", "2011-11-04", "--end", "2011-11-05", "--json")


@pytest.fixture
def run(service: Service, token_keys: tuple[bytes, bytes]) -> Run:
    token = mint_token(token_keys[0], "ana", [Role.ADMIN], None, 0)
    address = f"127.0.0.1:{service.application.server.port}"

    def invoke(*arguments: str, standard_input: str | None = None) -> Result:
        options = ["--token", token, "funnels", "--funnels-address", address]
        return CliRunner().invoke(main, [*options, *arguments], input=standard_input)

    return invoke


def rows(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.output.splitlines()]


def test_a_funnel_is_made_and_asked_about_from_a_terminal(run: Run, service: Service) -> None:
    happened(service, "ABC", "AB", "A", "AXB")
    made = run("create", "checkout", "A", "B", "C", "--window-minutes", "120", "--exclude", "X:0:1")
    assert made.output == "checkout has 3 steps\n"
    assert [row["name"] for row in rows(run("list", "--json"))] == ["checkout"]
    found = json.loads(run("results", "checkout", *RANGE).output)
    assert [step["users"] for step in found["steps"]] == ["3", "2", "1"]
    assert "0.6667" in run("results", "checkout", *RANGE[:-1]).output
    assert "null" not in run("results", "checkout", "--by", "plan", *RANGE[:-1]).output
    points = rows(run("conversion", "checkout", "--interval", "day", *RANGE))
    assert [(row["starters"], row["finishers"]) for row in points] == [(3, 1)]
    lost = rows(run("dropoff", "checkout", *RANGE))
    assert [(row["lost"], row["bottleneck"]) for row in lost] == [(1, "most people"), (1, "largest share")]
    assert [row["user"] for row in rows(run("users", "checkout", "2", "reached", *RANGE))] == ["u-0"]
    assert [row["fate"] for row in rows(run("journey", "checkout", "u-3", *RANGE))] == ["spoiled"]
    step = ("track", "checkout", "2", "u-1", "--time", "2011-11-04T00:05Z")
    assert [run(*step).output, run(*step).output] == ["recorded\n", "had been recorded before\n"]
    assert len(rows(run("users", "checkout", "2", "reached", *RANGE))) == 2
    assert run("deactivate", "checkout").output == "checkout is inactive\n"
    assert "FUNNEL_INACTIVE" in run(*step).output
    assert rows(run("list", "--active", "--json")) == []


def test_a_definition_may_have_filters(run: Run, service: Service) -> None:
    first, second = steps("AB")
    first.filters.append(equals("plan", "pro"))
    definition = MessageToJson(pb.CreateFunnelRequest(name="Pro", steps=[first, second]))
    made = run("create", "pro", "--definition", "-", standard_input=definition)
    assert "warning: no event 'A' was ever stored" in made.output
    kept = service.funnels.GetFunnel(pb.GetFunnelRequest(funnel_id="pro")).funnel
    assert kept.steps[0].filters == first.filters


def test_mistakes_are_told(run: Run) -> None:
    assert "either events or --definition" in run("create", "x").output
    assert "is no CreateFunnelRequest" in run("create", "x", "--definition", "-", standard_input="{").output
    assert "EVENT:FROM:TO" in run("create", "x", "A", "B", "--exclude", "X").output
    assert "FUNNEL_UNKNOWN" in run("results", "nothing").output
    assert "steps" in run("create", "x", "A").output
