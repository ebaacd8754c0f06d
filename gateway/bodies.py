"""Bodies of requests: how long they may take and be, unpacked, and read as JSON."""

import asyncio
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared.errors import FieldViolation, InvalidArgument

if TYPE_CHECKING:
    from starlette.requests import Request

    from shared.json_values import JsonValue as Json

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's way to ask for gzip's frame


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """A body's size, as it is sent and as it is unpacked, and how long it may take to arrive."""

    maximum_bytes: int
    seconds: float


async def read(request: "Request", limits: BodyLimits) -> bytes:
    """Return the body, unpacked where it is gzip; raise HTTPException 400, 408, 413 or 415.

    Some senders pack and do not say so: the first two bytes decide, which begin no JSON.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "", "gzip"):
        raise HTTPException(415, "content-encoding must be gzip or none")
    try:
        async with asyncio.timeout(limits.seconds):
            body = await _within(request, limits.maximum_bytes)
    except TimeoutError:
        raise HTTPException(408, f"the body took longer than {limits.seconds:g} s") from None
    except ClientDisconnect:
        raise HTTPException(400, "the body ended early") from None
    if body.startswith(_GZIP_MAGIC):
        return unpacked(body, limits.maximum_bytes)
    if encoding == "gzip":
        raise HTTPException(400, "the body is not gzip")
    return body


async def _within(request: "Request", maximum_bytes: int) -> bytes:
    """Return the body as it was sent; raise HTTPException 413 as soon as it is known to be larger."""
    announced = request.headers.get("content-length", "0")
    pieces: list[bytes] = []
    size = int(announced) if announced.isdecimal() else 0
    received = 0
    if size <= maximum_bytes:
        async for piece in request.stream():
            received += len(piece)
            if received > maximum_bytes:
                break
            pieces.append(piece)
    if max(size, received) > maximum_bytes:
        raise HTTPException(413, f"the body is larger than {maximum_bytes} bytes")
    return b"".join(pieces)


def unpacked(packed: bytes, maximum_bytes: int) -> bytes:
    """Return what gzip packed; raise HTTPException 400 if it is broken, 413 if it is larger than that."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        body = unpacker.decompress(packed, maximum_bytes + 1)
    except zlib.error:
        raise HTTPException(400, "the body is not gzip") from None
    if len(body) > maximum_bytes:
        raise HTTPException(413, f"the body is larger than {maximum_bytes} bytes when unpacked")
    if not unpacker.eof:
        raise HTTPException(400, "the body is cut off")
    return body


def require_json(request: "Request") -> None:
    """Raise HTTPException 415 unless the request says that it carries JSON.

    A page of another site cannot send that type without asking first, which nobody answers.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, "content-type must be application/json")


def parse_object(body: bytes) -> "dict[str, Json]":
    """Return the JSON object of a body; raise InvalidArgument."""
    try:
        parsed: Json = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidArgument([FieldViolation("", f"the body is not JSON: {error.msg}")]) from None
    if not isinstance(parsed, dict):
        raise InvalidArgument([FieldViolation("", "the body must be a JSON object")])
    return parsed
