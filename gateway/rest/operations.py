"""What one route of the REST interface is. The tables of `events`, `metrics` and so on hold them all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from google.protobuf import descriptor_pool

from gateway.rest.reading import fill
from gateway.rest.representation import JSON_TEXT, camel
from shared.validation import Violations

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from google.protobuf.descriptor import Descriptor, MethodDescriptor
    from google.protobuf.message import Message

    from gateway.rest.parameters import Given, Parameter
    from shared.auth import Caller
    from shared.json_values import JsonValue as Json

M = TypeVar("M", bound="Message")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was read: its parameters, its body, who asks, with which session, and when.

    `zone` is the calendar of days where the request names none.
    """

    given: "Given"
    body: "dict[str, Json]"
    caller: "Caller"
    session_id: str
    now: "datetime"
    zone: "ZoneInfo"


@dataclass(frozen=True, slots=True)
class Operation:
    """A request that becomes one call of a service.

    `rpc` is the call's full name with dots: its role holds, its answer is the answer. Where a path does
    several things, `action` tells which; "" is the one without. `body` is the message that a body fills.
    `fields` renames what the service finds wrong, where camelCase alone does not make the caller's name.
    `takes_session` tells that the header X-Session-Id means something.
    """

    method: Literal["GET", "POST"]
    path: str
    action: str
    rpc: str
    summary: str
    parameters: "tuple[Parameter[Any], ...]"
    request: "Callable[[Asked], Message]"
    body: "Descriptor | None" = None
    fields: Mapping[str, str] = field(default_factory=dict)
    takes_session: bool = False

    def descriptor(self) -> "MethodDescriptor":
        """Return what the contract says about the call."""
        return descriptor_pool.Default().FindMethodByName(self.rpc)

    def callers_name(self, path: str) -> str:
        """Return how the caller knows a field of the service's request: `event.session_id` is `sessionId`."""
        bare = path.partition("[")[0]
        for prefix, name in self.fields.items():
            if bare == prefix:
                return name
            if path.startswith(f"{prefix}.") and not name:
                return _camel(path.removeprefix(f"{prefix}."))
        return _camel(path)


def _camel(path: str) -> str:
    return camel(path.removesuffix(JSON_TEXT))


def of_body(message: "type[M]") -> "Callable[[Asked], M]":
    """Return what fills a request from the body."""

    def request(asked: Asked) -> M:
        violations = Violations()
        made = fill(violations, message(), asked.body)
        violations.raise_if_any()
        return made

    return request
