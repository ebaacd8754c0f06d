"""Event ids in sixteen bytes: canonical UUIDs as they are, any other text by its hash."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from uuid import UUID

import numpy as np

_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_canonical = re.compile(_UUID).fullmatch
_LENGTH = 36
ID_BYTES = 16
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
    return [packed[start : start + ID_BYTES] for start in range(0, len(packed), ID_BYTES)]


def stored_id(event_id: str) -> tuple[bytes, bool]:
    """Return the stored id and whether it says the id, so that its text need not be kept.

    Any other text becomes a version 8 UUID (RFC 9562, section 5.8) with 122 bits of its BLAKE2b hash.
    """
    if _canonical(event_id):
        return bytes.fromhex(event_id.replace("-", "")), True
    return _hashed(event_id.encode()).to_bytes(ID_BYTES), False


def hashed_id(content: bytes) -> str:
    """Return the canonical version 8 UUID of some content's hash."""
    digits = f"{_hashed(content):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _hashed(content: bytes) -> int:
    hashed = int.from_bytes(blake2b(content, digest_size=ID_BYTES).digest())
    hashed = hashed & ~(0xF << 76) | 8 << 76  # version
    return hashed & ~(0b11 << 62) | 0b10 << 62  # variant


def original_id(stored: UUID, text: str | None) -> str:
    """Return the id as the caller gave it."""
    return text if text is not None else str(stored)
