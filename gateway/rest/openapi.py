"""The OpenAPI document, made from the tables of operations and the contracts."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from gateway.rest import schemas
from gateway.rest.operations import Operation
from shared.auth import required_role

if TYPE_CHECKING:
    from gateway.rest.parameters import Parameter
    from gateway.rest.schemas import Schema

PATH: Final = "/api/analytics/openapi.json"
ACTION: Final = "action"
_ERROR: Final = {"$ref": "#/components/schemas/Error"}
# What each code means here, whatever was asked.
_FAILURES: Final = {
    400: "The request is wrong; `fields` names everything that is.",
    401: "A bearer token is required, or the one given is not valid.",
    403: "The token lacks the role.",
    404: "What was asked for does not exist.",
    408: "The body took too long.",
    409: "The state does not allow it.",
    413: "The body is too large.",
    415: "The body is not application/json, or packed otherwise than with gzip.",
    429: "A limit is reached; Retry-After says when to try again.",
    500: "A fault of the server; `requestId` finds it in the log.",
    501: "The service behind this is not connected to the gateway.",
    503: "A service behind the gateway is away; Retry-After says when to try again.",
    504: "The answer took too long.",
}


def document(operations: Sequence[Operation]) -> dict[str, object]:
    """Return the document of these operations."""
    by_path = groupby(sorted(operations, key=_place), key=lambda one: one.path)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Analytics Brain", "version": "1"},
        "paths": {path: _path(list(alike)) for path, alike in by_path},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {"Error": _error()},
        },
        "security": [{"token": []}],
    }


def _place(operation: Operation) -> tuple[str, str]:
    return operation.path, operation.method


def _path(operations: list[Operation]) -> dict[str, object]:
    by_method = groupby(operations, key=lambda one: one.method)
    return {method.lower(): _operation(list(alike)) for method, alike in by_method}


def _operation(alike: list[Operation]) -> dict[str, object]:
    """Describe the operations of one path and method: OpenAPI knows no more than one."""
    made: dict[str, object] = {
        "summary": " ".join(one.summary for one in alike) if len(alike) == 1 else "One of several actions.",
        "description": "\n".join(
            f"- {_title(one)}: {one.summary} Needs the role {_role(one)}." for one in alike
        ),
        "parameters": _action(alike) + _parameters(alike) + (_SESSION if alike[0].takes_session else []),
        "responses": {"200": _answer(alike), **_failures()},
    }
    if alike[0].body is not None:
        bodies = [schemas.of_request(one.body) for one in alike if one.body is not None]
        schema: Schema = bodies[0] if len(bodies) == 1 else {"anyOf": bodies}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


_SESSION: Final[list[dict[str, object]]] = [
    {
        "name": "X-Session-Id",
        "in": "header",
        "description": "The session where the body names none, 1 to 200 characters; else it is ignored.",
        "schema": {"type": "string"},
    }
]


def _title(operation: Operation) -> str:
    return f"action={operation.action}" if operation.action else "without action"


def _role(operation: Operation) -> str:
    service, _, call = operation.rpc.rpartition(".")
    role = required_role(f"/{service}/{call}")
    return "nobody has" if role is None else role.name.lower()


def _action(alike: list[Operation]) -> list[dict[str, object]]:
    words = [one.action for one in alike if one.action]
    if not words:
        return []
    return [
        {
            "name": ACTION,
            "in": "query",
            "description": "What to do.",
            "required": len(words) == len(alike),
            "schema": {"type": "string", "enum": words},
        }
    ]


def _parameters(alike: list[Operation]) -> list[dict[str, object]]:
    """Return every parameter once, with what it means for which action."""
    uses: dict[str, list[tuple[Operation, Parameter[Any]]]] = {}
    for operation in alike:
        for parameter in operation.parameters:
            uses.setdefault(parameter.name, []).append((operation, parameter))
    return [_parameter(name, used, len(alike)) for name, used in uses.items()]


def _parameter(name: str, used: "list[tuple[Operation, Parameter[Any]]]", actions: int) -> dict[str, object]:
    meanings = {parameter.description for _, parameter in used}
    if len(used) == actions and len(meanings) == 1:
        description = meanings.pop()
    else:
        description = " ".join(f"With {_title(one)}: {each.description}" for one, each in used)
    return {
        "name": name,
        "in": "query",
        "description": description,
        "required": len(used) == actions and all(parameter.required for _, parameter in used),
        "schema": _any_of([parameter.schema for _, parameter in used]),
    }


def _any_of(schemas_of_uses: "list[Schema]") -> "Schema":
    different = [one for place, one in enumerate(schemas_of_uses) if one not in schemas_of_uses[:place]]
    return different[0] if len(different) == 1 else {"anyOf": different}


def _answer(alike: list[Operation]) -> dict[str, object]:
    answers = [schemas.of_answer(one.descriptor().output_type) for one in alike]
    schema: Schema = answers[0] if len(answers) == 1 else {"anyOf": answers}
    return {"description": "The answer.", "content": {"application/json": {"schema": schema}}}


def _failures() -> dict[str, object]:
    return {
        str(code): {"description": meaning, "content": {"application/json": {"schema": _ERROR}}}
        for code, meaning in _FAILURES.items()
    }


def _error() -> dict[str, object]:
    texts = {name: {"type": "string"} for name in ("reason", "message", "requestId")}
    violation = {
        "type": "object",
        "properties": {"field": {"type": "string"}, "reason": {"type": "string"}},
        "required": ["field", "reason"],
    }
    error = {
        "type": "object",
        "properties": {"code": {"type": "integer"}, **texts, "fields": {"type": "array", "items": violation}},
        "required": ["code", *texts],
    }
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}
