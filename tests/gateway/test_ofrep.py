"""OFREP: the published provider against the gateway, and what the protocol says beside."""

from collections.abc import Iterator
from typing import Any

import pytest
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Value
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from shared.auth import Role
from tests.gateway.conftest import Gateway
from tests.services.experiments.asking import assign, create, definition, pause, start
from tests.services.experiments.conftest import Service as ExperimentsService

FLAGS = "/ofrep/v1/evaluate/flags"


@pytest.fixture
def client(experimenting: Gateway) -> Iterator[OpenFeatureClient]:
    headers = {"authorization": f"Bearer {experimenting.tokens[Role.INGEST]}"}
    api.set_provider(OFREPProvider(experimenting.url, headers_factory=lambda: headers), "ofrep")
    yield api.get_client("ofrep")
    api.clear_providers()


def flag(service: ExperimentsService, key: str, *values: object) -> None:
    what = definition()
    for variant, value in zip(what.variants, values, strict=False):
        message = Value()
        if isinstance(value, dict):
            message.struct_value.SetInParent()
            message.struct_value.update(value)
        elif isinstance(value, bool):
            message.bool_value = value
        elif isinstance(value, int | float):
            message.number_value = value
        variant.value.CopyFrom(message)
    create(service, key, what)
    start(service, key)


def test_an_application_gets_what_is_stored(
    client: OpenFeatureClient, experiments: ExperimentsService
) -> None:
    flag(experiments, "colour")
    flag(experiments, "shown", True, False)
    flag(experiments, "size", 10, 20)
    flag(experiments, "rate", 0.5, 1)
    flag(experiments, "config", {"depth": 1, "names": ["x"]}, {})
    asked: dict[str, tuple[Any, object, dict[str, object]]] = {
        "colour": (client.get_string_details, "none", {"a": "a", "b": "b"}),
        "shown": (client.get_boolean_details, False, {"a": True, "b": False}),
        "size": (client.get_integer_details, 0, {"a": 10, "b": 20}),
        "rate": (client.get_float_details, 0.0, {"a": 0.5, "b": 1.0}),
        "config": (client.get_object_details, {}, {"a": {"depth": 1, "names": ["x"]}, "b": {}}),
    }  # fmt: skip
    for key, (ask, default, values) in asked.items():
        for name in ("ann", "bob", "cat", "Zoë"):
            found = ask(key, default, EvaluationContext(name))
            variant = assign(experiments, name, key).variant
            assert (found.error_code, found.error_message) == (None, None)
            assert (found.variant, found.reason) == (variant, "SPLIT")
            assert found.value == values[variant]


def test_an_application_gets_its_default_with_the_reason(
    client: OpenFeatureClient, experiments: ExperimentsService
) -> None:
    def outcome(key: str) -> tuple[str, str | None, str | None]:
        found = client.get_string_details(key, "default", EvaluationContext("ann"))
        return found.value, found.reason, found.error_code

    assert outcome("unknown") == ("default", "ERROR", "FLAG_NOT_FOUND")
    flag(experiments, "colour")
    pause(experiments)
    assert outcome("colour") == ("default", "DISABLED", None)
    create(experiments, "nobody", definition(coverage_percent=0))
    start(experiments, "nobody")
    assert outcome("nobody") == ("default", "DEFAULT", None)
    flag(experiments, "size", 1, 2)
    assert outcome("size")[2] == "TYPE_MISMATCH"
    nobody = client.get_string_details("colour", "default")
    assert (nobody.value, nobody.reason) == ("default", "DISABLED")


def test_attributes_are_what_targeting_looks_at(
    client: OpenFeatureClient, experiments: ExperimentsService
) -> None:
    plan = {"property": "plan", "operator": "PROPERTY_OPERATOR_EQUALS", "values": [Value(string_value="pro")]}
    create(experiments, "colour", definition(targeting=[plan]))
    start(experiments)

    def reason(**attributes: str) -> str | None:
        context = EvaluationContext("ann", attributes)
        return client.get_string_details("colour", "none", context).reason

    assert reason(plan="free") == "DEFAULT"
    assert reason(plan="pro") == "SPLIT"


def test_all_flags_come_with_a_tag_that_changes_when_they_do(
    experimenting: Gateway, experiments: ExperimentsService
) -> None:
    flag(experiments, "colour")
    flag(experiments, "size", 1, 2)
    create(experiments, "draft")
    body = {"context": {"targetingKey": "ann"}}
    with experimenting.client(Role.INGEST) as http:
        first = http.post(FLAGS, json=body)
        assert [each["key"] for each in first.json()["flags"]] == ["colour", "size"]
        known = {"if-none-match": first.headers["etag"]}
        again = http.post(FLAGS, json=body, headers=known)
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        weakly = {"if-none-match": f'"other", W/{first.headers["etag"]}'}
        assert http.post(FLAGS, json=body, headers=weakly).status_code == 304
        pause(experiments)
        left = http.post(FLAGS, json=body, headers=known).json()["flags"]
        assert [each["key"] for each in left] == ["size"]


def test_a_winner_is_for_everybody(experimenting: Gateway, experiments: ExperimentsService) -> None:
    flag(experiments, "colour")
    declared = pb.DeclareWinnerRequest(
        decision_id="d", experiment_key="colour", variant="b", override_reason="gut"
    )
    experiments.experiments.DeclareWinner(declared)
    with experimenting.client(Role.INGEST) as http:
        answer = http.post(f"{FLAGS}/colour", json={}).json()
    assert answer == {"key": "colour", "reason": "STATIC", "variant": "b", "value": "b"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "PARSE_ERROR"),
        (b"[]", "INVALID_CONTEXT"),
        (b'{"context": 1}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": 1}}', "INVALID_CONTEXT"),
        (b'{"context": {"targetingKey": "%s"}}' % (b"x" * 201), "INVALID_CONTEXT"),
        (b'{"context": {"a": %s}}' % (b"[" * 900 + b"]" * 900), "INVALID_CONTEXT"),
    ],
)
def test_bad_contexts_are_refused(
    body: bytes, code: str, experimenting: Gateway, experiments: ExperimentsService
) -> None:
    flag(experiments, "colour")
    with experimenting.client(Role.INGEST) as http:
        answer = http.post(f"{FLAGS}/colour", content=body)
    assert answer.status_code == 400
    assert (answer.json()["key"], answer.json()["errorCode"]) == ("colour", code)


def test_a_token_is_needed_in_either_header(experimenting: Gateway) -> None:
    with experimenting.client(None) as http:
        assert http.post(FLAGS, json={}).status_code == 401
        key = {"x-api-key": experimenting.tokens[Role.INGEST]}
        assert http.post(FLAGS, json={}, headers=key).json() == {"flags": []}
        assert http.post(FLAGS, json={}, headers={"x-api-key": "nonsense"}).status_code == 401
    with experimenting.client(Role.ANALYST) as http:
        assert http.post(FLAGS, json={}).status_code == 403


def test_without_the_service_nothing_is_answered(gateway: Gateway) -> None:
    with gateway.client(Role.INGEST) as http:
        assert http.post(FLAGS, json={}).status_code == 501
