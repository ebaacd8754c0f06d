"""Opaque page tokens: a keyset position, bound to the request that it continues.

A token is a digest and a JSON array. The digest is not keyed: whoever forges one reaches only rows that the
same request reads anyway. It is there so that a token of other conditions, or a damaged one, is refused
rather than answered wrongly.
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from types import UnionType

from google.protobuf.message import Message

from shared.validation import Violations

_DIGEST_BYTES = 12
# Keys of 8 KiB of UTF-8 may double in JSON and grow by a third in base64; the rest is for other keys.
_MAXIMUM_CHARACTERS = 131_072
_INT64 = 1 << 63


def encode_token(request: Message, position: Sequence[str | int | None]) -> str:
    """Return the token of the page after `position`, the key of the last row of this page."""
    payload = json.dumps(list(position), ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(request, payload) + payload).decode().rstrip("=")


def decode_token(
    violations: Violations, request: Message, token: str, kinds: Sequence[type | UnionType]
) -> list[str | int | None] | None:
    """Return the position to continue after; None for the first page, and after a violation of page_token.

    The position has just these `kinds`, e.g. `(int, str | None)`: whoever forges a token chooses its values.
    """
    if not token:
        return None
    position = _position(request, token)
    if position is None or not _fits(position, kinds):
        violations.add("page_token", "is not a token of this request")
        return None
    return position


def _position(request: Message, token: str) -> list[str | int | None] | None:
    if len(token) > _MAXIMUM_CHARACTERS:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        digest, payload = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if digest != _digest(request, payload):
            return None
        position = json.loads(payload)
    except (ValueError, RecursionError):  # binascii, JSON and UTF-8 errors are ValueErrors
        return None
    if isinstance(position, list) and all(map(_is_key, position)):
        return position
    return None


def _is_key(value: object) -> bool:
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -_INT64 <= value < _INT64
    return value is None


def _fits(position: Sequence[str | int | None], kinds: Sequence[type | UnionType]) -> bool:
    return len(position) == len(kinds) and all(map(isinstance, position, kinds))


def _digest(request: Message, payload: bytes) -> bytes:
    conditions = type(request)()
    conditions.CopyFrom(request)
    for paging in ("page_token", "page_size"):
        if paging in conditions.DESCRIPTOR.fields_by_name:
            conditions.ClearField(paging)
    fingerprint = hashlib.blake2b(conditions.DESCRIPTOR.full_name.encode() + b"\0")
    fingerprint.update(conditions.SerializeToString(deterministic=True))
    digest = hashlib.blake2b(payload, digest_size=_DIGEST_BYTES, key=fingerprint.digest())
    return digest.digest()
