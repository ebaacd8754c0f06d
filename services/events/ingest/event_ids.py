"""Event ids in sixteen bytes: canonical UUIDs as they are, any other text by its hash."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from uuid import UUID

import numpy as np

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_canonical = re.compile(_UUID).fullmatch
_LENGTH = 36
_DASHES = [8, 13, 18, 23]
_DIGITS = np.delete(np.arange(_LENGTH), _DASHES)
_is_digit = np.isin(np.arange(256), list(b"0123456789abcdef"))


def all_canonical(event_ids: Sequence[str]) -> list[bytes] | None:
    """Return the stored ids where every one is a canonical UUID, else None."""
    joined = "".join(event_ids)
    if not joined.isascii() or set(map(len, event_ids)) != {_LENGTH}:
        return None
    characters = np.frombuffer(joined.encode(), np.uint8).reshape(-1, _LENGTH)
    digits = characters[:, _DIGITS]
    if not ((characters[:, _DASHES] == ord("-")).all() and _is_digit[digits].all()):
        return None
    packed = bytes.fromhex(digits.tobytes().decode())
    return [packed[start : start + 16] for start in range(0, len(packed), 16)]


def stored_id(event_id: str) -> tuple[bytes, bool]:
    """Return the stored id and whether it says the id, so that its text need not be kept.

    Any other text becomes a version 8 UUID (RFC 9562, section 5.8) with 122 bits of its BLAKE2b hash.
    """
    if _canonical(event_id):
        return bytes.fromhex(event_id.replace("-", "")), True
    hashed = int.from_bytes(blake2b(event_id.encode(), digest_size=16).digest())
    hashed = hashed & ~(0xF << 76) | 8 << 76  # version
    hashed = hashed & ~(0b11 << 62) | 0b10 << 62  # variant
    return hashed.to_bytes(16), False


def original_id(stored: UUID, text: str | None) -> str:
    """Return the id as the caller gave it."""
    return text if text is not None else str(stored)
