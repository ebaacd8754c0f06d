"""Encryption of what is stored about people, and look-up of it without decrypting."""

import base64
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32

_NONCE_BYTES = 12
_HEADER_BYTES = 1 + _NONCE_BYTES
_MAXIMUM_KEY_ID = 255


class DecryptionError(Exception):
    """What is stored was altered, belongs elsewhere, or its key is missing."""


class Keyring:
    """AES-256-GCM under numbered keys: the current one encrypts, every one decrypts.

    A ciphertext is key id (1 byte) | nonce (12) | ciphertext and tag. Nonces are random, so a key is good
    for 2³² encryptions (NIST SP 800-38D, 8.3). Safe to share between threads.
    """

    def __init__(self, keys: Mapping[int, bytes], current_id: int) -> None:
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._current_id = current_id

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Read `2:base64key,1:base64key`, the first being current.

        Raise ValueError, which never quotes a key, unless ids are 1 to 255 and keys 32 bytes.
        """
        keys: dict[int, bytes] = {}
        for place, entry in enumerate(setting.split(",")):
            key_id, key = _parse_entry(place, entry)
            if key_id in keys:
                raise ValueError(f"key id {key_id} is given twice")
            keys[key_id] = key
        return cls(keys, next(iter(keys)))

    @property
    def current_id(self) -> int:
        """Return the id of the key that encrypts: the first byte of its ciphertexts."""
        return self._current_id

    def encrypt(self, plain: bytes, associated: bytes) -> bytes:
        """Return a ciphertext that decrypts only together with the same `associated` bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._current_id].encrypt(nonce, plain, associated)
        return bytes((self._current_id,)) + nonce + sealed

    def decrypt(self, stored: bytes, associated: bytes) -> bytes:
        """Return the plain bytes; raise DecryptionError for anything `encrypt` did not make."""
        if len(stored) < _HEADER_BYTES:
            raise DecryptionError("too short for a ciphertext")
        cipher = self._ciphers.get(stored[0])
        if cipher is None:
            raise DecryptionError(f"key {stored[0]} is not in the keyring")
        try:
            return cipher.decrypt(stored[1:_HEADER_BYTES], stored[_HEADER_BYTES:], associated)
        except InvalidTag:
            raise DecryptionError("altered, or encrypted for something else") from None


def _parse_entry(place: int, entry: str) -> tuple[int, bytes]:
    id_text, separator, key_text = entry.strip().partition(":")
    if not separator or not id_text.isascii() or not id_text.isdigit():
        raise ValueError(f"entry {place} is not id:base64key")
    key_id = int(id_text)
    if not 1 <= key_id <= _MAXIMUM_KEY_ID:
        raise ValueError(f"entry {place} has a key id outside 1 to {_MAXIMUM_KEY_ID}")
    return key_id, parse_key(key_text, f"key {key_id}")


def parse_key(encoded: str, name: str) -> bytes:
    """Read a 32-byte key in base64; raise ValueError that names it without quoting it."""
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise ValueError(f"{name} is not base64") from None
    if len(key) != KEY_BYTES:
        raise ValueError(f"{name} has {len(key)} bytes, needs {KEY_BYTES}")
    return key


@dataclass(frozen=True, slots=True)
class EncryptedColumn:
    """Where ciphertexts of the keyring are kept: in a column of a table whose rows an integer key names.

    Each decrypts together with the column `associated` of its row.
    """

    table: str
    key: str
    associated: str
    encrypted: str


class BlindIndex:
    """Keyed BLAKE2b: equal texts have equal digests, which say nothing without the key."""

    def __init__(self, key: bytes) -> None:
        self._keyed = hashlib.blake2b(key=key, digest_size=16)

    @classmethod
    def parse(cls, setting: str) -> Self:
        """Read a 32-byte key in base64; raise ValueError."""
        return cls(parse_key(setting, "the blind index key"))

    def digest(self, text: str) -> bytes:
        """Return the 16-byte digest of a text."""
        keyed = self._keyed.copy()  # half the cost of hashing the key again
        keyed.update(text.encode())
        return keyed.digest()
