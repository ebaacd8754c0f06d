"""The endpoints that Segment's, RudderStack's and PostHog's libraries send to."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import orjson
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from gateway import bodies
from gateway.capture import posthog, segment
from gateway.capture.delivery import Delivery, Refusal
from gateway.capture.received import Received
from shared.errors import FieldViolation, InvalidArgument, Unauthenticated

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import Event
    from starlette.requests import Request

    from gateway.bodies import BodyLimits
    from shared.json_values import JsonValue as Json

Message = dict[str, "Json"]
Convert = Callable[[Message, Received], "Event"]

_POSTHOG_PATHS: Final = ("/batch", "/capture", "/e", "/i/v0/e")
# Web pages anywhere may send, with what their libraries send along; nothing is readable but the outcome.
_CROSS_ORIGIN: Final = Middleware(
    CORSMiddleware,
    allow_origins=["*"],
    allow_methods=["POST"],
    allow_headers=["authorization", "content-type", "content-encoding"],
    max_age=86_400,
)


@dataclass(frozen=True)
class Capture:
    """What capturing takes. `sources` has the name of each write key; `clock` tells Unix seconds."""

    delivery: Delivery
    limits: "BodyLimits"
    sources: Mapping[str, str]
    session_key: bytes
    drops_on_signal: bool
    clock: Callable[[], float]

    def source(self, *keys: str) -> str:
        """Return whose write key is among these; raise Unauthenticated."""
        for key in keys:
            if key in self.sources:
                return self.sources[key]
        raise Unauthenticated("a known write key is required", "WRITE_KEY_UNKNOWN")

    async def take(
        self, request: "Request", source: str, messages: Sequence["Json"], convert: Convert
    ) -> list[Refusal]:
        """Store messages; return what was refused of them."""
        request.state.caller = source
        if self.drops_on_signal and asks_for_privacy(request.headers):
            self.delivery.dropped(source, len(messages))
            return []
        now = datetime.fromtimestamp(self.clock(), UTC)
        events, refusals = converted(messages, convert, Received(now, self.session_key))
        refusals += await self.delivery.deliver(source, events)
        self.delivery.refused(source, refusals)
        return sorted(refusals, key=lambda one: one.index)


def routes(capture: Capture) -> list[Route]:
    """Return the routes of every library, with and without the last slash."""
    made = {
        "/v1/batch": _segment_batch(capture),
        "/v1/import": _segment_batch(capture),
        **{f"/v1/{kind}": _segment_one(capture, kind) for kind in segment.KINDS},
        **{path: _posthog(capture) for path in _POSTHOG_PATHS},
    }
    return [
        Route(f"{path}{slash}", endpoint, methods=["POST", "OPTIONS"], middleware=[_CROSS_ORIGIN])
        for path, endpoint in made.items()
        for slash in ("", "/")
    ]


def asks_for_privacy(headers: Mapping[str, str]) -> bool:
    """Tell whether a browser asks not to be tracked, or that nothing of it be sold."""
    return headers.get("sec-gpc") == "1" or headers.get("dnt") == "1"


def converted(
    messages: Sequence["Json"], convert: Convert, received: Received
) -> "tuple[list[tuple[int, Event]], list[Refusal]]":
    """Return the events of messages, each with its place, and what could not be read."""
    events: list[tuple[int, Event]] = []
    refusals: list[Refusal] = []
    for index, message in enumerate(messages):
        if not isinstance(message, dict):
            refusals.append(Refusal(index, "", "must be an object"))
            continue
        try:
            events.append((index, convert(message, received)))
        except (ValueError, OverflowError) as error:
            refusals.append(Refusal(index, "", str(error)))
    return events, refusals


def _segment_one(capture: Capture, kind: str) -> "Callable[[Request], object]":
    def convert(message: Message, received: Received) -> "Event":
        return segment.event_of(message, kind, received)

    async def endpoint(request: "Request") -> Response:
        """Store one message of the kind that the path names."""
        message = await _object(capture, request)
        source = capture.source(_basic_user(request), _text(message, "writeKey"))
        refuse_alone(await capture.take(request, source, [message], convert))
        return JSONResponse({"success": True})

    return endpoint


def _segment_batch(capture: Capture) -> "Callable[[Request], object]":
    def convert(message: Message, received: Received) -> "Event":
        return segment.event_of(message, segment.kind_of(message), received)

    async def endpoint(request: "Request") -> Response:
        """Store the messages of a batch."""
        body = await _object(capture, request)
        source = capture.source(_basic_user(request), _text(body, "writeKey"))
        refusals = await capture.take(request, source, _batch(body), convert)
        return _outcome({"success": True}, refusals)

    return endpoint


def _posthog(capture: Capture) -> "Callable[[Request], object]":
    async def endpoint(request: "Request") -> Response:
        """Store one message, a list of them, or a batch."""
        body = _parsed(_form_data(await _read(capture, request)))
        is_batch = isinstance(body, dict) and "batch" in body
        messages = _batch(body) if isinstance(body, dict) and is_batch else body
        alone = not isinstance(messages, list)
        listed: Sequence[Json] = messages if isinstance(messages, list) else [messages]
        first = listed[0] if listed and isinstance(listed[0], dict) else {}
        keys = [posthog.key_of(one) for one in (body, first) if isinstance(one, dict)]
        refusals = await capture.take(request, capture.source(*keys), listed, posthog.event_of)
        if alone:
            refuse_alone(refusals)
        return _outcome({"status": 1}, refusals)

    return endpoint


def refuse_alone(refusals: Sequence[Refusal]) -> None:
    """Raise InvalidArgument where the only message was refused."""
    if refusals:
        raise InvalidArgument([FieldViolation(each.field, each.reason) for each in refusals])


def _outcome(answer: dict[str, object], refusals: Sequence[Refusal]) -> Response:
    """Answer a batch: a bad message of it is told, and no reason to send the good ones again."""
    if refusals:
        answer["rejections"] = [
            {"index": each.index, "field": each.field, "reason": each.reason} for each in refusals
        ]
    return JSONResponse(answer)


async def _object(capture: Capture, request: "Request") -> Message:
    return bodies.parse_object(await _read(capture, request))


async def _read(capture: Capture, request: "Request") -> bytes:
    if request.method != "POST":
        raise HTTPException(405, headers={"allow": "POST"})
    return await bodies.read(request, capture.limits)


def _parsed(body: bytes) -> "Json":
    try:
        parsed: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument([FieldViolation("", f"the body is not JSON: {error.msg}")]) from None
    return parsed


def _form_data(body: bytes) -> bytes:
    """Return what older libraries put into a form: `data=` and JSON in base64."""
    if not body.startswith(b"data="):
        return body
    data = parse_qs(body.decode("latin-1"), max_num_fields=10).get("data", [""])[0]
    try:
        return base64.b64decode(data.replace(" ", "+"), validate=True)
    except binascii.Error:
        raise InvalidArgument([FieldViolation("data", "is not base64")]) from None


def _batch(body: Message) -> list["Json"]:
    batch = body.get("batch")
    if not isinstance(batch, list):
        raise InvalidArgument([FieldViolation("batch", "must be a list of messages")])
    return batch


def _text(body: Message, name: str) -> str:
    found = body.get(name)
    return found if isinstance(found, str) else ""


def _basic_user(request: "Request") -> str:
    """Return the user of basic authentication, which is where libraries put the write key."""
    scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except ValueError:
        return ""
