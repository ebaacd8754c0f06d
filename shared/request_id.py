"""The id that follows a request through every service it touches and into every log line."""

from contextvars import ContextVar
from uuid import uuid4

METADATA_KEY = "x-request-id"

_MAXIMUM_CHARACTERS = 128

# Of the call this thread serves; empty outside of calls.
current_request_id: ContextVar[str] = ContextVar("current_request_id", default="")


def new_request_id() -> str:
    """Return an id nobody has used."""
    return uuid4().hex


def accepted_request_id(given: str) -> str:
    """Return the id a caller sent; a new one unless it is 1 to 128 printable ASCII characters."""
    if 0 < len(given) <= _MAXIMUM_CHARACTERS and given.isascii() and given.isprintable():
        return given
    return new_request_id()
