"""Secrets that are told from everything else, and a search for them however they are spelled.

A part of a secret is found as well: texts are cut off, and half a password is enough to guess the rest.
"""

import base64
import hashlib
import html
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus

WINDOW_BYTES = 12  # nothing else is alike over so many


def planted(name: str) -> str:
    """Return 32 letters and digits, always the same for a name, that share no part with those of others."""
    return base64.b32encode(hashlib.sha256(name.encode()).digest()).decode()[:32].lower()


def planted_key(name: str) -> bytes:
    """Return a key of 32 bytes likewise."""
    return planted(name).encode()


@dataclass
class Secrets:
    """What must be nowhere, by what it is."""

    _windows: dict[bytes, str] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)

    def add(self, name: str, secret: str | bytes) -> None:
        """Have it searched for."""
        self._names.add(name)
        for spelled in spellings(secret.encode() if isinstance(secret, str) else secret):
            assert len(spelled) >= WINDOW_BYTES, name
            self._windows.update((each, name) for each in _windows(spelled))

    @property
    def names(self) -> set[str]:
        """Return what is searched for."""
        return self._names

    def found_in(self, text: bytes) -> set[str]:
        """Return which of them, or of their parts, stand in a text."""
        return {name for each in _windows(text) if (name := self._windows.get(each)) is not None}


def _windows(text: bytes) -> Iterator[bytes]:
    return (text[start : start + WINDOW_BYTES] for start in range(len(text) - WINDOW_BYTES + 1))


def spellings(secret: bytes) -> set[bytes]:
    """Return how programs write a secret."""
    as_text = secret.decode("latin-1")
    return {
        secret,
        secret.hex().encode(),
        secret.hex().upper().encode(),
        secret.hex(" ").encode(),
        quote(secret, safe="").encode(),
        quote_plus(secret).encode(),
        repr(secret)[2:-1].encode(),
        json.dumps(as_text)[1:-1].encode(),
        html.escape(as_text).encode(),
        *(part for offset in range(3) for part in _within_base64(secret, offset)),
    }


def _within_base64(secret: bytes, offset: int) -> Iterator[bytes]:
    """Yield what is the same in every base64 text that has so many bytes, modulo 3, before the secret."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        encoded = encode(bytes(offset) + secret)
        whole = len(encoded) - 4 if (offset + len(secret)) % 3 else len(encoded)
        yield encoded[4 if offset else 0 : whole]
