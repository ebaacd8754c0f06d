"""OFREP, the OpenFeature remote evaluation protocol: flags for any SDK with its provider."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import grpc
import orjson
from brain.experiments.v1.experiments_pb2_grpc import ExperimentsServiceStub
from grpc import aio
from starlette.responses import Response
from starlette.routing import Route

from gateway import bodies, failures
from gateway.ofrep import answers

if TYPE_CHECKING:
    from brain.experiments.v1.experiments_pb2 import EvaluateFlagsResponse
    from starlette.requests import Request

    from gateway.access import Access
    from gateway.bodies import BodyLimits
    from gateway.services import Services

PATH: Final = "/ofrep/v1/evaluate/flags"
_API_KEY: Final = "x-api-key"
_REFUSALS: Final = {
    grpc.StatusCode.NOT_FOUND: (404, "FLAG_NOT_FOUND"),
    grpc.StatusCode.INVALID_ARGUMENT: (400, "INVALID_CONTEXT"),
}


@dataclass(frozen=True)
class Ofrep:
    """Passes evaluations on with the token of whoever asks: a bearer token, or in the header X-API-Key."""

    services: "Services"
    access: "Access"
    limits: "BodyLimits"

    async def one(self, request: "Request") -> Response:
        """Evaluate a flag."""
        key: str = request.path_params["key"]
        answer = await self._evaluated(request, key)
        if isinstance(answer, Response):
            return answer
        return _json(answers.flag(answer.flags[0]))

    async def all(self, request: "Request") -> Response:
        """Evaluate everything that runs or has a winner; 304 where that is what the caller has."""
        answer = await self._evaluated(request, None)
        if isinstance(answer, Response):
            return answer
        content = orjson.dumps({"flags": list(map(answers.flag, answer.flags))})
        tag = answers.tag(content)
        # Proxies that compress answers make the tag a weak one.
        known = request.headers.get("if-none-match", "").split(",")
        if tag in {each.strip().removeprefix("W/") for each in known}:
            return Response(status_code=304, headers={"etag": tag})
        return Response(content, media_type="application/json", headers={"etag": tag})

    async def _evaluated(self, request: "Request", key: str | None) -> "EvaluateFlagsResponse | Response":
        token = await self._token(request)
        try:
            body = await bodies.read(request, self.limits)
            asked = answers.request_of(body, [] if key is None else [key])
        except answers.ContextError as error:
            return _json(answers.failure(key, error.code, str(error)), 400)
        stub = self.services.stub("experiments", ExperimentsServiceStub)
        try:
            return await self.services.ask(stub.EvaluateFlags, asked, token)
        except aio.AioRpcError as error:
            if error.code() not in _REFUSALS:
                raise
            code, name = _REFUSALS[error.code()]
            return _json(answers.failure(key, name, failures.of_error(error).message), code)

    async def _token(self, request: "Request") -> str:
        given = request.headers.get(_API_KEY)
        if given is None:
            return (await self.access.of_request(request)).token
        asker = await self.access.of_token(given)
        request.state.caller = asker.caller.subject
        return asker.token


def routes(ofrep: Ofrep) -> list[Route]:
    """Return the routes of the protocol."""
    return [
        Route(PATH, ofrep.all, methods=["POST"]),
        Route(f"{PATH}/{{key}}", ofrep.one, methods=["POST"]),
    ]


def _json(told: dict[str, object], code: int = 200) -> Response:
    return Response(orjson.dumps(told), code, media_type="application/json")
