"""A whole experiment over REST, and what is told where something is wrong."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from shared.auth import Role
from tests.gateway.conftest import Gateway

PATH = "/api/analytics/ab-tests"
DEFINITION = {
    "name": "Button colour",
    "variants": [
        {"name": "red", "value": {"colour": "red", "sizes": [1, 2.5]}, "allocationPercent": 50},
        {"name": "blue", "value": {"colour": "blue", "sizes": [], "more": {}}, "allocationPercent": 50},
    ],
    "metrics": [
        {"name": "signup", "kind": "conversion"},
        {"name": "revenue", "kind": "value", "minimumRelativeEffect": 0.1},
    ],
    "targeting": [{"property": "plan", "operator": "equals", "values": ["pro"]}],
    "plannedSample": 1000,
}


def post(client: httpx.Client, action: str, **body: object) -> Any:  # noqa: ANN401 - JSON
    answer = client.post(PATH, params={"action": action}, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
def client(experimenting: Gateway) -> Iterator[httpx.Client]:
    with experimenting.client() as made:
        yield made


def test_an_experiment_is_run_over_rest(client: httpx.Client) -> None:
    made = post(client, "create", key="colour", definition=DEFINITION)["experiment"]
    assert made["status"] == "draft"
    assert made["definition"]["variants"] == DEFINITION["variants"]
    assert made["definition"]["targeting"] == DEFINITION["targeting"]
    assert post(client, "start", experimentKey="colour")["experiment"]["status"] == "running"
    who = {"userId": "ann"}
    left = post(client, "assign", experimentKey="colour", person=who)["assignment"]
    assert (left["reason"], "variant" in left) == ("not_targeted", False)
    assigned = post(client, "assign", experimentKey="colour", person=who, attributes={"plan": "pro"})
    assignment = assigned["assignment"]
    assert assignment["value"]["colour"] == assignment["variant"]
    conversion = {"experimentKey": "colour", "person": who, "conversionId": "c-1"}
    assert post(client, "convert", **conversion) == {"duplicate": False}
    assert post(client, "convert", **conversion) == {"duplicate": True}
    assert post(client, "convert", experimentKey="colour", person=who, metric="revenue", value=7.5) == {
        "duplicate": False
    }
    results = client.get(PATH, params={"action": "results", "experimentKey": "colour"}).json()["results"]
    signup, revenue = results["metrics"]
    by_variant = {each["variant"]: each for each in signup["variants"]}
    assert by_variant[assignment["variant"]]["converted"] == 1
    assert sum(each["totalValue"] for each in revenue["variants"]) == 7.5
    assert "conversionRatio" in by_variant["red"]["absentReasons"] or "conversionRatio" in by_variant["red"]
    assert results["leadingMethod"] == "sequential"
    [listed] = client.get(PATH).json()["experiments"]
    assert (listed["key"], listed["participants"]) == ("colour", 1)
    over = client.get(PATH, params={"action": "results_over_time", "experimentKey": "colour"}).json()
    assert [each["complete"] for each in over["points"]] == [False]
    assert post(client, "pause", experimentKey="colour")["experiment"]["status"] == "paused"
    refused = client.post(
        PATH, params={"action": "declare"}, json={"experimentKey": "colour", "variant": "red"}
    )
    assert refused.status_code == 409
    assert refused.json()["error"]["reason"] == "NOT_DECISIVE"
    decision = post(client, "declare", experimentKey="colour", variant="red", overrideReason="gut")
    assert decision["decision"]["objections"][0].startswith("NOT_DECISIVE")
    completed = client.get(PATH, params={"status": "completed"}).json()["experiments"]
    assert [each["winner"] for each in completed] == ["red"]


def test_completing_ends_without_a_winner(client: httpx.Client) -> None:
    post(client, "create", key="colour", definition=DEFINITION)
    post(client, "start", experimentKey="colour")
    assert post(client, "complete", experimentKey="colour")["experiment"]["status"] == "completed"


def test_whoever_asks_is_meant_where_nobody_is_named(client: httpx.Client) -> None:
    post(client, "create", key="colour", definition={**DEFINITION, "targeting": []})
    post(client, "start", experimentKey="colour")
    assigned = post(client, "assign", experimentKey="colour")["assignment"]
    assert assigned["person"] == {"userId": "the-admin"}
    assert post(client, "convert", experimentKey="colour") == {"duplicate": False}


def test_everything_that_is_wrong_is_told_by_the_callers_names(client: httpx.Client) -> None:
    bad = {**DEFINITION, "variants": [{"name": "red", "allocationPercent": 10}], "metrics": []}
    answer = client.post(PATH, params={"action": "create"}, json={"key": "a b", "definition": bad})
    assert answer.status_code == 400
    fields = {each["field"] for each in answer.json()["error"]["fields"]}
    assert fields == {"key", "definition.variants", "definition.metrics"}
    wrong = {"definition": {"variants": [{"value": [[[]]], "allocationPercent": "x", "colour": 1}]}}
    answer = client.post(PATH, params={"action": "create"}, json=wrong)
    fields = {each["field"] for each in answer.json()["error"]["fields"]}
    assert fields == {"definition.variants[0].allocationPercent", "definition.variants[0].colour"}
    deep = client.post(
        PATH,
        params={"action": "assign"},
        content=b'{"attributes": {"a": %s}}' % (b"[" * 500 + b"]" * 500),
        headers={"content-type": "application/json"},
    )
    assert [each["field"] for each in deep.json()["error"]["fields"]] == ["attributes"]
    assert client.get(PATH, params={"action": "results", "experimentKey": "x"}).status_code == 404


def test_roles_are_those_of_the_calls(experimenting: Gateway) -> None:
    with experimenting.client(Role.INGEST) as client:
        assert client.get(PATH).status_code == 403
        assert client.post(PATH, params={"action": "start"}, json={"experimentKey": "x"}).status_code == 403
        assert client.post(PATH, params={"action": "assign"}, json={"experimentKey": "x"}).status_code == 404
