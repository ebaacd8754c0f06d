"""The keys of an identity provider, as its JWKS URL tells them."""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

import jwt

from shared.errors import Unavailable

_logger = logging.getLogger(__name__)

_FETCH_SECONDS: Final = 5
# A key that was withdrawn verifies nothing after this long, while the provider can be asked.
FRESH_SECONDS: Final = 150.0
# While it cannot be asked, the keys that it last told are good for this long.
USABLE_SECONDS: Final = 3_600.0
# Unknown key ids are no reason to ask more often: anybody can make them up.
UNKNOWN_SECONDS: Final = 30.0
# Nor is a provider that is away.
RETRY_SECONDS: Final = 5.0

# A provider that does not answer, or answers with what is no set of keys.
_NO_KEYS: Final = (jwt.PyJWTError, OSError, ValueError, AttributeError, TypeError)


class UnknownKeyError(Exception):
    """The provider does not tell of a key of this id."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What the provider told, and when, in seconds of a clock that never goes back."""

    keys: Mapping[str, jwt.PyJWK]
    at: float


class ProviderKeys:
    """Keys by their ids, fetched when they are needed. Safe for threads.

    One thread asks the provider at a time; while it does, the others go on with the keys they have. `clock`
    tells seconds and never goes back.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_FETCH_SECONDS)
        self._clock = clock
        self._told = _Told({}, float("-inf"))
        self._failed = float("-inf")
        self._is_away = False
        self._asking = Lock()

    def key(self, key_id: str) -> jwt.PyJWK:
        """Return a key; raise UnknownKeyError, or Unavailable (KEYS_UNAVAILABLE) where nobody can tell."""
        told = self._told
        if key_id in told.keys and self._clock() - told.at < FRESH_SECONDS:
            return told.keys[key_id]
        is_usable = key_id in told.keys and self._clock() - told.at < USABLE_SECONDS
        if self._asking.acquire(blocking=not is_usable):
            try:
                told = self._refreshed(key_id)
            finally:
                self._asking.release()
        if self._clock() - told.at >= USABLE_SECONDS or (self._is_away and key_id not in told.keys):
            raise Unavailable("the keys that verify tokens cannot be fetched", "KEYS_UNAVAILABLE")
        if key_id not in told.keys:
            raise UnknownKeyError(key_id)
        return told.keys[key_id]

    def _refreshed(self, key_id: str) -> _Told:
        """Return what the provider tells, asked again unless it was lately."""
        now = self._clock()
        lately = FRESH_SECONDS if key_id in self._told.keys else UNKNOWN_SECONDS
        if now - self._told.at < lately or now - self._failed < RETRY_SECONDS:
            return self._told
        try:
            found = jwt.PyJWKSet.from_dict(self._client.fetch_data())
        except _NO_KEYS as error:
            self._failed = self._clock()
            self._note(is_away=True, cause=type(error).__name__)
        else:
            signing = [one for one in found.keys if one.public_key_use in {None, "sig"}]
            self._told = _Told({one.key_id: one for one in signing if one.key_id}, now)
            self._note(is_away=False, cause=None)
        return self._told

    def _note(self, *, is_away: bool, cause: str | None) -> None:
        if is_away is not self._is_away:
            self._is_away = is_away
            level = logging.WARNING if is_away else logging.INFO
            fields = {"reachable": not is_away, "cause": cause}
            _logger.log(level, "keys of the identity provider", extra=fields)
