"""Event ids in sixteen bytes: canonical UUIDs as they are, any other text by its hash."""

import re
from hashlib import blake2b
from uuid import UUID

_canonical = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch


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
