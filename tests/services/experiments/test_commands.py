"""`brain experiments` against a running service."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from click.testing import CliRunner, Result
from google.protobuf.json_format import MessageToJson

from brain_client.cli import main
from shared.auth import Role, mint_token
from tests.services.experiments.asking import assign, definition, results
from tests.services.experiments.conftest import Service

Run = Callable[..., Result]


@pytest.fixture
def run(service: Service, token_keys: tuple[bytes, bytes]) -> Run:
    token = mint_token(token_keys[0], "ana", [Role.ADMIN], None, 0)
    address = f"127.0.0.1:{service.application.server.port}"

    def invoke(*arguments: str, standard_input: str | None = None) -> Result:
        options = ["--token", token, "experiments", "--experiments-address", address]
        return CliRunner().invoke(main, [*options, *arguments], input=standard_input)

    return invoke


def made(run: Run) -> None:
    created = run("create", "colour", "-", standard_input=MessageToJson(definition()))
    assert created.output == "colour is draft\n"
    assert run("start", "colour").output == "colour is running\n"


def test_an_experiment_is_run_from_a_terminal(run: Run, service: Service, tmp_path: Path) -> None:
    made(run)
    assert run("pause", "colour").output == "colour is paused\n"
    run("start", "colour")
    variant = run("assign", "colour", "--user", "ann").output.strip()
    assert variant == assign(service, "ann").variant
    assert run("convert", "colour", "--user", "ann", "--id", "c1").output == "c1 stored\n"
    assert run("convert", "colour", "--user", "ann", "--id", "c1").output == "c1 had been stored before\n"
    shown = run("results", "colour").output
    assert "Keep running: signup is not decisive" in shown
    found = json.loads(run("results", "colour", "--json").output)
    converted = {each["variant"]: each.get("converted") for each in found["metrics"][0]["variants"]}
    assert converted[variant] == "1"
    refused = run("declare", "colour", "b")
    assert refused.exit_code == 1
    assert "reason: NOT_DECISIVE" in refused.output
    declared = run("declare", "colour", "b", "--override-reason", "gut")
    assert declared.output == "colour: b is the winner by signup\n"
    [row] = map(json.loads, run("list", "--json").output.splitlines())
    assert (row["key"], row["status"], row["winner"]) == ("colour", "completed", "b")


def test_mistakes_are_told(run: Run) -> None:
    made(run)
    assert "exactly one of --user" in run("assign", "colour").output
    assert "is no ExperimentDefinition" in run("create", "x", "-", standard_input="{").output
    assert "EXPERIMENT_UNKNOWN" in run("start", "nothing").output
    assert run("complete", "colour").output == "colour is completed\n"
    assert run("assign", "colour", "--user", "ann").output == "no variant: not_running\n"


def test_results_are_broken_down(run: Run) -> None:
    definition_text = MessageToJson(definition(break_down_attributes=["plan"]))
    run("create", "colour", "-", standard_input=definition_text)
    run("start", "colour")
    for name, attribute in (("ann", "plan=pro"), ("bob", "age=7")):
        run("assign", "colour", "--user", name, "--attribute", attribute)
    shown = run("results", "colour", "--by", "plan").output
    assert "\nplan: pro\n" in shown
    assert "\nplan: (none)\n" in shown
    whole = json.loads(run("results", "colour", "--by", "plan", "--json").output)
    assert [each.get("value") for each in whole["segments"]] == ["pro", None]


def test_results_are_told_day_by_day(run: Run, service: Service) -> None:
    made(run)
    variant = assign(service, "ann").variant
    run("convert", "colour", "--user", "ann")
    rows = map(json.loads, run("over-time", "colour", "--json").output.splitlines())
    [today] = (row for row in rows if row["variant"] == variant)
    assert (today["complete"], today["participants"], today["value"]) == (False, 1, 1.0)
    assert "metric: is none of colour" in run("over-time", "colour", "--metric", "x").output


def test_an_override_is_given_shown_and_taken_back(run: Run) -> None:
    made(run)
    assert run("override", "colour", "--user", "ann", "--variant", "b").output == "gets b\n"
    assert run("assign", "colour", "--user", "ann").output == "b\n"
    shown = json.loads(run("assignment", "colour", "--user", "ann", "--json").output)
    assert (shown["variant"], shown["reason"], shown["exposed_time"]) == ("b", "override", None)
    assert run("override", "colour", "--user", "ann", "--take-back").output == "taken back\n"
    assert "ASSIGNMENT_UNKNOWN" in run("assignment", "colour", "--user", "ann").output
    assert "exactly one of --variant" in run("override", "colour", "--user", "ann").output
    assert "is no variant" in run("override", "colour", "--user", "ann", "--variant", "x").output


def test_exposures_are_noted(run: Run, service: Service) -> None:
    run("create", "colour", "-", standard_input=MessageToJson(definition(tracks_exposures=True)))
    run("start", "colour")
    assert "NOT_ASSIGNED" in run("expose", "colour", "--user", "ann").output
    run("assign", "colour", "--user", "ann")
    assert json.loads(run("results", "colour", "--json").output).get("participants", "0") == "0"
    assert run("expose", "colour", "--user", "ann").output == "exposed\n"
    shown = json.loads(run("assignment", "colour", "--user", "ann", "--json").output)
    assert shown["exposed_time"] >= shown["assigned_time"]
    assert results(service).participants == 1
    early = run("expose", "colour", "--user", "ann", "--time", "2001-01-01").output
    assert "BEFORE_ASSIGNMENT" in early
    other = {"a": "b", "b": "a"}[shown["variant"]]
    run("expose", "colour", "--user", "ann", "--variant", other)
    assert results(service).conflicting_people == 1


def test_decisions_are_listed(run: Run) -> None:
    assert run("decisions").output == "Nothing found.\n"
    for key, winner in (("colour", "b"), ("size", "a")):
        run("create", key, "-", standard_input=MessageToJson(definition()))
        run("start", key)
        run("declare", key, winner, "--override-reason", "gut", "--id", f"d-{key}")
    both = map(json.loads, run("decisions", "--json").output.splitlines())
    assert [each["decision_id"] for each in both] == ["d-size", "d-colour"]
    [one] = map(json.loads, run("decisions", "colour", "--json").output.splitlines())
    assert (one["variant"], one["override_reason"], one["decided_by"]) == ("b", "gut", "ana")
    assert one["results"]["metrics"][0]["metric"]["name"] == "signup"
    shown = run("decisions", "colour").output
    assert "NOT_DECISIVE" in shown
    assert "size" not in shown


def test_what_may_change_is_changed(run: Run, service: Service) -> None:
    made(run)
    told = run("update", "colour", "--share", "b=90", "--share", "a=10", "--coverage", "50").output
    assert told == "colour: a 10%, b 90%; 50% take part\n"
    metrics = '[{"name": "revenue", "kind": "METRIC_KIND_VALUE"}]'
    assert run("update", "colour", "--metrics", "-", standard_input=metrics).exit_code == 0
    request = pb.GetExperimentRequest(experiment_key="colour")
    found = service.experiments.GetExperiment(request).experiment.definition
    assert [each.name for each in found.metrics] == ["revenue"]
    assert (found.variants[1].allocation_percent, found.coverage_percent) == (90, 50)
    assert "give --share" in run("update", "colour").output
    assert "not 'most' percent" in run("update", "colour", "--share", "a=most").output
    assert "is no list of metrics" in run("update", "colour", "--metrics", "-", standard_input="{").output
    assert "must name every variant once" in run("update", "colour", "--share", "a=100").output
