"""The OpenAPI document tells the truth: every answer to whatever it allows is as it says."""

import subprocess
import sys
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from gateway.rest import openapi, schemas
from gateway.rest.operations import Operation
from gateway.rest.routes import OPERATIONS
from shared.auth import Role
from tests.gateway.conftest import Gateway

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
# One operation for each path and method.
PLACES = list({(one.path, one.method): one for one in OPERATIONS}.values())


def test_every_operation_is_in_the_document_with_its_role() -> None:
    paths = openapi.document(OPERATIONS)["paths"]
    assert isinstance(paths, dict)
    for operation in OPERATIONS:
        described = paths[operation.path][operation.method.lower()]
        assert operation.summary in described["description"]
        names = {parameter["name"] for parameter in described["parameters"]}
        assert {parameter.name for parameter in operation.parameters} <= names
    counts = paths["/api/analytics/events"]["get"]
    assert "Needs the role analyst." in counts["description"]
    assert "Needs the role ingest." in paths["/api/analytics/events"]["post"]["description"]


def test_the_contracts_are_there_where_nothing_else_imports_them() -> None:
    """Calls are found by name: only a process of its own shows that their modules are imported."""
    program = "from gateway.rest import openapi, routes; openapi.document(routes.OPERATIONS)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_anybody_may_read_the_document(shared_gateway: Gateway) -> None:
    with shared_gateway.client(None) as client:
        assert client.get(openapi.PATH).json()["openapi"] == "3.1.0"


def test_bodies_that_the_document_allows_are_taken(shared_gateway: Gateway) -> None:
    """What chance finds seldom: null means absent, and a header that nobody looks at may be anything."""
    described = openapi.document(OPERATIONS)["paths"]["/api/analytics/events"]["post"]  # type: ignore[index]
    schema = described["requestBody"]["content"]["application/json"]["schema"]
    body = {**dict.fromkeys(schema["properties"]), "event": "allowed", "sessionId": "s"}
    (header,) = [each for each in described["parameters"] if each["in"] == "header"]
    session = {header["name"]: "s" * 300}
    jsonschema_rs.validate(schema, body)
    jsonschema_rs.validate(header["schema"], session["X-Session-Id"])
    with shared_gateway.client() as client:
        assert client.post("/api/analytics/events", json=body, headers=session).status_code == 200


def test_no_body_may_leave_a_choice_unspecified() -> None:
    (save,) = [one for one in OPERATIONS if one.rpc.endswith("SaveMetric")]
    assert save.body is not None
    period = schemas.of_request(save.body)["properties"]["period"]  # type: ignore[index]
    assert {"type": "string", "enum": ["hourly", "daily", "weekly", "monthly"]} in period["anyOf"]


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize("operation", PLACES, ids="{0.method} {0.path}".format)
def test_answers_are_as_the_document_says(
    shared_gateway: Gateway, operation: Operation, mode: GenerationMode
) -> None:
    """Requests that the document allows, and ones that it does not."""
    schema = schemathesis.openapi.from_url(f"{shared_gateway.url}{openapi.PATH}")
    headers = {"Authorization": f"Bearer {shared_gateway.tokens[Role.ADMIN]}"}
    # In a query every value is a text, so that only bodies can be of a wrong type.
    is_wrong = mode is GenerationMode.NEGATIVE and operation.body is not None
    checks = [*CHECKS, negative_data_rejection] if is_wrong else CHECKS

    @given(case=schema[operation.path][operation.method].as_strategy(generation_mode=mode))
    @settings(max_examples=40)
    def check(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers=headers, checks=checks)

    check()
