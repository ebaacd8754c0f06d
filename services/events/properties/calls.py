"""The calls of EventsService about registered properties."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.events.v1 import properties_pb2 as pb

from services.events import messages
from services.events.ingest.batch import MAXIMUM_ID
from services.events.properties import store
from shared.calls import current_caller
from shared.pagination import decode_token, encode_token
from shared.timestamps import from_micros
from shared.validation import Violations, page_size, text

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Engine

    from services.events.properties.store import Registration


@dataclass(frozen=True)
class PropertyCalls:
    """Registers, lists and gives up properties."""

    engine: "Engine"
    clock: Callable[[], int]

    def RegisterProperty(
        self, request: pb.RegisterPropertyRequest, context: "grpc.ServicerContext"
    ) -> pb.RegisterPropertyResponse:
        """Register a property."""
        path, event = _named(request)
        registered = store.register(self.engine, path, event, (current_caller().subject, self.clock()))
        return pb.RegisterPropertyResponse(property=_message(registered))

    def UnregisterProperty(
        self, request: pb.UnregisterPropertyRequest, context: "grpc.ServicerContext"
    ) -> pb.UnregisterPropertyResponse:
        """Give a registration up."""
        path, event = _named(request)
        removed = store.unregister(self.engine, path, event, current_caller().subject)
        return pb.UnregisterPropertyResponse(unregistered=removed)

    def ListProperties(
        self, request: pb.ListPropertiesRequest, context: "grpc.ServicerContext"
    ) -> pb.ListPropertiesResponse:
        """List the registrations by property, then by event."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1_000)
        after = decode_token(violations, request, request.page_token, (str, str))
        violations.raise_if_any()
        found = store.page(self.engine, cast("tuple[str, str]", tuple(after)) if after else None, size + 1)
        token = ""
        if len(found) > size:
            token = encode_token(request, [found[size - 1].path, found[size - 1].event])
        return pb.ListPropertiesResponse(properties=map(_message, found[:size]), next_page_token=token)


def _named(
    request: "pb.RegisterPropertyRequest | pb.UnregisterPropertyRequest",
) -> tuple[tuple[str, ...], str | None]:
    violations = Violations()
    path = messages.property_path(violations, "property", request.property)
    event = text(violations, "event", request.event, maximum=MAXIMUM_ID, required=False)
    violations.raise_if_any()
    return path, event or None


def _message(registration: "Registration") -> pb.RegisteredProperty:
    return pb.RegisteredProperty(
        property=registration.path,
        event=registration.event,
        state=pb.PropertyState.ValueType(registration.state),
        value_count=registration.value_count,
        creator=registration.creator,
        created_time=from_micros(registration.created_time),
    )
