"""The routes of the REST interface, made from the tables of operations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import TYPE_CHECKING

import grpc.aio
import orjson
from starlette.responses import Response
from starlette.routing import Route

from gateway import bodies, failures
from gateway.rest import ab_tests, alerts, events, funnels, metrics, openapi, predictions, predictions_kept
from gateway.rest.operations import Asked, Operation
from gateway.rest.parameters import read_all
from gateway.rest.representation import to_json
from shared.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from google.protobuf.message import Message
    from starlette.requests import Request

    from gateway.access import Access, Asker
    from gateway.bodies import BodyLimits
    from gateway.services import Services
    from shared.json_values import JsonValue as Json

OPERATIONS: Sequence[Operation] = (
    *ab_tests.OPERATIONS,
    *alerts.OPERATIONS,
    *events.OPERATIONS,
    *funnels.OPERATIONS,
    *metrics.OPERATIONS,
    *predictions.OPERATIONS,
    *predictions_kept.OPERATIONS,
)
SESSION_HEADER = "x-session-id"


@dataclass(frozen=True)
class Edge:
    """What answering takes. `clock` tells Unix seconds; `zone` has the days of requests that name none."""

    services: "Services"
    access: "Access"
    limits: "BodyLimits"
    clock: Callable[[], float]
    zone: "ZoneInfo"


def routes(edge: Edge) -> list[Route]:
    """Return a route for each path and method, and one for the document that describes them."""
    ordered = sorted(OPERATIONS, key=_place)
    made = [
        Route(path, _endpoint(edge, {each.action: each for each in alike}), methods=[method])
        for (path, method), alike in groupby(ordered, key=_place)
    ]
    return [*made, Route(openapi.PATH, _document(openapi.document(OPERATIONS)), methods=["GET"])]


def _place(operation: Operation) -> tuple[str, str]:
    return operation.path, operation.method


def _endpoint(edge: Edge, by_action: dict[str, Operation]) -> "Callable[[Request], object]":
    async def endpoint(request: "Request") -> Response:
        """Answer whoever holds a token."""
        asker = await edge.access.of_request(request)
        operation = _chosen(by_action, request)
        return _json(await _answer(edge, operation, request, asker))

    return endpoint


def _chosen(by_action: dict[str, Operation], request: "Request") -> Operation:
    action = request.query_params.get(openapi.ACTION, "")
    if action not in by_action:
        choices = " or ".join([*filter(None, by_action), *["absent"] * ("" in by_action)])
        raise InvalidArgument([FieldViolation(openapi.ACTION, f"must be {choices}")])
    return by_action[action]


async def _answer(edge: Edge, operation: Operation, request: "Request", asker: "Asker") -> "Message":
    asked = Asked(
        given=read_all(operation.parameters, request.query_params.multi_items(), frozenset({openapi.ACTION})),
        body=await _body(edge, operation, request),
        caller=asker.caller,
        session_id=request.headers.get(SESSION_HEADER, ""),
        now=datetime.fromtimestamp(edge.clock(), UTC),
        zone=edge.zone,
    )
    call = edge.services.call(operation.rpc)
    try:
        answer = await edge.services.ask(call, operation.request(asked), asker.token)
    except grpc.aio.AioRpcError as error:
        raise failures.Refused(failures.renamed(failures.of_error(error), operation.callers_name)) from error
    return answer


async def _body(edge: Edge, operation: Operation, request: "Request") -> "dict[str, Json]":
    if operation.body is None:
        return {}
    bodies.require_json(request)
    return bodies.parse_object(await bodies.read(request, edge.limits))


def _json(answer: "Message") -> Response:
    return Response(orjson.dumps(to_json(answer)), media_type="application/json")


def _document(document: dict[str, object]) -> "Callable[[Request], object]":
    content = orjson.dumps(document)

    async def endpoint(_request: "Request") -> Response:
        """Tell everybody what the interface is."""
        return Response(content, media_type="application/json")

    return endpoint
