"""The calls that make funnels, list and deactivate them."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from brain.funnels.v1 import funnels_pb2 as pb

from services.funnels.keeping import definitions, store
from services.funnels.reading.unseen import UnseenEvents
from shared import audit
from shared.audit import AuditEntry
from shared.calls import current_caller
from shared.errors import AlreadyExists
from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size, text

if TYPE_CHECKING:
    import grpc
    from sqlalchemy import Connection, Engine


@dataclass(frozen=True)
class KeepingCalls:
    """Makes, lists and deactivates funnels."""

    engine: "Engine"
    unseen: UnseenEvents
    clock: Callable[[], int]

    def CreateFunnel(
        self, request: pb.CreateFunnelRequest, context: "grpc.ServicerContext"
    ) -> pb.CreateFunnelResponse:
        """Keep a funnel, once."""
        violations = Violations()
        definitions.check_id(violations, request.funnel_id)
        text(violations, "name", request.name, maximum=definitions.MAXIMUM_NAME)
        definitions.check(violations, request)
        violations.raise_if_any()
        definition = definitions.completed(request)
        warnings = self.unseen.warnings(definitions.to_funnel(definition))
        funnel_id = request.funnel_id or secrets.token_hex(8)
        with self.engine.begin() as connection:
            if store.add(connection, funnel_id, definition, current_caller().subject, self.clock()):
                _record(connection, "CreateFunnel", funnel_id)
            kept = store.read(connection, funnel_id)
        if _definition(kept.message) != definition:
            raise AlreadyExists(f"another funnel has the id {funnel_id!r}", "FUNNEL_ALREADY_EXISTS")
        return pb.CreateFunnelResponse(funnel=kept.message, warnings=warnings)

    def GetFunnel(
        self, request: pb.GetFunnelRequest, context: "grpc.ServicerContext"
    ) -> pb.GetFunnelResponse:
        """Return a funnel."""
        with self.engine.begin() as connection:
            return pb.GetFunnelResponse(funnel=store.read(connection, request.funnel_id).message)

    def ListFunnels(
        self, request: pb.ListFunnelsRequest, context: "grpc.ServicerContext"
    ) -> pb.ListFunnelsResponse:
        """List funnels by id."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (str,))
        violations.raise_if_any()
        last = cast("str", after[0]) if after else None
        with self.engine.begin() as connection:
            found = store.page(connection, last, size + 1, active_only=request.active_only)
        page = [kept.message for kept in found[:size]]
        token = encode_token(request, [page[-1].funnel_id]) if len(found) > size else ""
        return pb.ListFunnelsResponse(funnels=page, next_page_token=token)

    def DeactivateFunnel(
        self, request: pb.DeactivateFunnelRequest, context: "grpc.ServicerContext"
    ) -> pb.DeactivateFunnelResponse:
        """Take no more records for a funnel."""
        with self.engine.begin() as connection:
            store.read(connection, request.funnel_id)
            if store.deactivate(connection, request.funnel_id, self.clock()):
                _record(connection, "DeactivateFunnel", request.funnel_id)
            kept = store.read(connection, request.funnel_id)
        return pb.DeactivateFunnelResponse(funnel=kept.message)


def _definition(kept: pb.Funnel) -> pb.Funnel:
    """Return what was given of a funnel as it is kept."""
    given = pb.Funnel()
    given.CopyFrom(kept)
    for field in ("funnel_id", "active", "creator", "created_time", "deactivated_time"):
        given.ClearField(field)
    return given


def _record(connection: "Connection", action: str, funnel_id: str) -> None:
    audit.record(connection, AuditEntry(current_caller().subject, action, funnel_id, {}))
