"""Flags as OFREP tells them. Pure: https://openfeature.dev/specification (remote evaluation protocol 0.2)."""

import hashlib
from typing import TYPE_CHECKING, Final

import orjson
from brain.experiments.v1 import experiments_pb2 as pb
from google.protobuf.struct_pb2 import Struct

from shared.json_values import depth, to_python

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shared.json_values import JsonValue as Json

TARGETING_KEY: Final = "targetingKey"
_DEPTH: Final = 16
_REASONS: Final = {
    pb.ASSIGNMENT_REASON_SPLIT: "SPLIT",
    pb.ASSIGNMENT_REASON_OVERRIDE: "TARGETING_MATCH",
    pb.ASSIGNMENT_REASON_WINNER: "STATIC",
    pb.ASSIGNMENT_REASON_NOT_RUNNING: "DISABLED",
}


class ContextError(Exception):
    """A context cannot be taken; `code` is OFREP's, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def request_of(body: bytes, keys: "Sequence[str]") -> pb.EvaluateFlagsRequest:
    """Return what a body asks for; raise ContextError.

    Who it is about is its targeting key, a user id. Without one it is nobody in particular.
    """
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ContextError("PARSE_ERROR", f"the body is not JSON: {error.msg}") from None
    context = given.get("context", {}) if isinstance(given, dict) else None
    if not isinstance(context, dict):
        raise ContextError("INVALID_CONTEXT", "the body must be an object whose context is an object")
    name = context.get(TARGETING_KEY, "")
    if not isinstance(name, str):
        raise ContextError("INVALID_CONTEXT", f"{TARGETING_KEY} must be a text")
    return pb.EvaluateFlagsRequest(
        person=pb.Person(user_id=name) if name else None,
        attributes=_attributes(context),
        experiment_keys=keys,
    )


def _attributes(context: "dict[str, Json]") -> Struct:
    if depth(context) > _DEPTH:
        raise ContextError("INVALID_CONTEXT", f"the context is nested deeper than {_DEPTH}")
    made = Struct()
    made.update(context)
    return made


def flag(found: pb.Flag) -> dict[str, object]:
    """Return a flag; without a value, the default of the caller holds."""
    told: dict[str, object] = {
        "key": found.experiment_key,
        "reason": _REASONS.get(found.reason, "DEFAULT"),
        # Some providers fail where it is missing.
        "variant": found.variant,
    }
    if found.HasField("variant"):
        told["value"] = _value(found)
    return told


def _value(found: pb.Flag) -> "Json":
    if found.value.WhichOneof("kind") == "number_value" and not found.is_whole_number:
        return found.value.number_value  # 1.0 among fractions stays one for typed languages
    return to_python(found.value, _DEPTH + 1)


def failure(key: str | None, code: str, details: str) -> dict[str, object]:
    """Return why there is no flag."""
    told: dict[str, object] = {"errorCode": code, "errorDetails": details}
    return told if key is None else {"key": key, **told}


def tag(content: bytes) -> str:
    """Return the ETag of an answer: equal answers have equal ones."""
    return f'"{hashlib.blake2b(content, digest_size=16).hexdigest()}"'
