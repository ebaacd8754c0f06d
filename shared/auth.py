"""Who calls, and what an RPC asks of them: bearer tokens (JWT) that carry roles."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

import jwt
from brain.options.v1 import options_pb2
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf import descriptor_pool

from shared.errors import Unauthenticated
from shared.jwks import FRESH_SECONDS, ProviderKeys, UnknownKeyError

if TYPE_CHECKING:
    from shared.config import ServerSettings

ISSUER = "brain"

# Of contracts that are not ours, so that no role can stand beside their RPCs: health is asked by load
# balancers, which hold no token; reflection tells only what the published protos say.
OPEN_SERVICES = frozenset(
    {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
)

# Neither can it stand beside these: whoever asks for a flag takes part in an experiment, and whoever exports
# log records tells what happened.
ROLES_OF_OTHERS = {
    "flagd.evaluation.v2.Service": options_pb2.ROLE_INGEST,
    "opentelemetry.proto.collector.logs.v1.LogsService": options_pb2.ROLE_INGEST,
}

_CACHED_TOKENS = 4_096
# A key that was withdrawn stops working this soon.
_CACHED_SECONDS = 300.0
_CLOCK_SKEW_SECONDS = 30.0


class Role(IntEnum):
    """Mirrors brain.options.v1.Role; what each may do is told there."""

    INGEST = options_pb2.ROLE_INGEST
    ANALYST = options_pb2.ROLE_ANALYST
    ADMIN = options_pb2.ROLE_ADMIN


_ROLES = {int(role): role for role in Role}


@dataclass(frozen=True)
class Caller:
    """Whoever a token was made for."""

    subject: str
    roles: frozenset[Role]
    # How many events a minute the token may send; None where it does not say.
    events_per_minute: int | None = None

    def may(self, role: Role) -> bool:
        """Return whether the caller has the role, or is an administrator."""
        return role in self.roles or Role.ADMIN in self.roles


class Verifier(Protocol):
    """Tells whose a token is."""

    def verify(self, token: str, now: float) -> Caller:
        """Return the caller; raise Unauthenticated (TOKEN_MISSING, TOKEN_INVALID, TOKEN_EXPIRED).

        `now` is in Unix seconds.
        """


def generate_keys() -> tuple[bytes, bytes]:
    """Return a new Ed25519 pair as PEM: the private key (PKCS #8), the public key."""
    private = Ed25519PrivateKey.generate()
    private_pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private_pem, public_pem


def mint_token(
    private_pem: bytes,
    subject: str,
    roles: Iterable[Role],
    lifetime_seconds: int | None,
    now: float,
    events_per_minute: int | None = None,
) -> str:
    """Return a JWT signed with EdDSA; without a lifetime it holds until the key is changed."""
    claims: dict[str, object] = {
        "iss": ISSUER,
        "sub": subject,
        "roles": [role.name.lower() for role in sorted(roles)],
        "iat": int(now),
    }
    if lifetime_seconds is not None:
        claims["exp"] = int(now) + lifetime_seconds
    if events_per_minute is not None:
        claims["events_per_minute"] = events_per_minute
    return jwt.encode(claims, private_pem.decode(), algorithm="EdDSA")


class TokenVerifier:
    """Verifies tokens of `mint_token` with the public key. Safe to share between threads."""

    def __init__(self, public_pem: bytes) -> None:
        self._key = serialization.load_pem_public_key(public_pem)
        self._verified = _VerifiedTokens(self._claims)

    def verify(self, token: str, now: float) -> Caller:
        """Return the caller; raise Unauthenticated."""
        return self._verified.caller(token, now)

    def _claims(self, token: str) -> dict[str, object]:
        # The algorithm is named here, never taken from the token.
        return jwt.decode(token, self._key, ["EdDSA"], issuer=ISSUER, options=_without_times("iss", "sub"))  # type: ignore[arg-type]


class JwksVerifier:
    """Verifies tokens of an identity provider with the keys behind its JWKS URL.

    A key that the provider withdraws ends within five minutes, a new one is known within 30 s of the first
    token it signed. While the provider is away, the keys it last told are good for an hour. Its tokens carry
    our roles in a claim `roles`, and may carry `events_per_minute`; those it made for others than `audience`
    are refused, for the same keys sign them all. Safe to share between threads.
    """

    def __init__(
        self, url: str, *, issuer: str, audience: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = ProviderKeys(url, clock)
        self._issuer = issuer
        self._audience = audience
        # What a key verified just before it was withdrawn must not outlast it for long.
        self._verified = _VerifiedTokens(self._claims, _CACHED_SECONDS - FRESH_SECONDS)

    def verify(self, token: str, now: float) -> Caller:
        """Return the caller; raise Unauthenticated, or Unavailable (KEYS_UNAVAILABLE)."""
        return self._verified.caller(token, now)

    def _claims(self, token: str) -> dict[str, object]:
        key_id = jwt.get_unverified_header(token).get("kid")
        try:
            key = self._keys.key(str(key_id))
        except UnknownKeyError:
            raise jwt.InvalidTokenError from None
        return jwt.decode(
            token,
            key,
            ["EdDSA", "ES256", "PS256", "RS256"],
            issuer=self._issuer,
            audience=self._audience,
            options=_without_times("iss", "sub", "aud"),
        )


def verifier_of(settings: "ServerSettings") -> Verifier | None:
    """Return what verifies tokens as the settings say, None where they switch authentication off."""
    if settings.token_public_key_file is not None:
        return TokenVerifier(settings.token_public_key_file.read_bytes())
    if settings.jwks_url is not None:
        assert settings.jwks_issuer, "checked by the settings"
        assert settings.jwks_audience, "checked by the settings"
        return JwksVerifier(
            str(settings.jwks_url), issuer=settings.jwks_issuer, audience=settings.jwks_audience
        )
    return None


def _without_times(*required: str) -> jwt.types.Options:
    # Times are compared here with the `now` given, on cached tokens too.
    return {
        "require": list(required),
        "verify_exp": False,
        "verify_nbf": False,
        "verify_iat": False,
        "verify_aud": "aud" in required,
    }


@dataclass(frozen=True)
class _Verified:
    caller: Caller
    expires: float
    cached_until: float


class _VerifiedTokens:
    """Remembers whose tokens were verified: a signature costs 100 µs, a look-up less than one.

    Only tokens with a good signature are kept, so nobody fills it with rubbish.
    """

    def __init__(self, claims: Callable[[str], dict[str, object]], seconds: float = _CACHED_SECONDS) -> None:
        self._claims = claims
        self._seconds = seconds
        self._known: dict[str, _Verified] = {}

    def caller(self, token: str, now: float) -> Caller:
        """Return the caller of a token that is good at `now`; raise Unauthenticated."""
        verified = self._known.get(token)
        if verified is None or now >= verified.cached_until:
            verified = self._verify(token, now)
        if now >= verified.expires:
            raise Unauthenticated("the token has expired", "TOKEN_EXPIRED")
        return verified.caller

    def _verify(self, token: str, now: float) -> _Verified:
        if not token:
            raise Unauthenticated("a bearer token is required", "TOKEN_MISSING")
        try:
            claims = self._claims(token)
            verified = _read_claims(claims, now, now + self._seconds)
        except (jwt.PyJWTError, TypeError, ValueError):
            raise Unauthenticated("the token is not valid here", "TOKEN_INVALID") from None
        if len(self._known) >= _CACHED_TOKENS:
            self._known.clear()
        self._known[token] = verified
        return verified


def _read_claims(claims: dict[str, object], now: float, cached_until: float) -> _Verified:
    subject, roles = claims["sub"], claims.get("roles", [])
    expires, not_before = claims.get("exp", float("inf")), claims.get("nbf", 0)
    if not isinstance(subject, str) or not isinstance(roles, list):
        raise TypeError("sub is a text, roles is a list")
    if not isinstance(expires, int | float) or not isinstance(not_before, int | float):
        raise TypeError("exp and nbf are numbers")
    if now + _CLOCK_SKEW_SECONDS < not_before:
        raise ValueError("not valid yet")
    # Roles of later versions are left out, not refused.
    known = frozenset(role for role in Role if role.name.lower() in roles)
    caller = Caller(subject, known, _quota(claims))
    return _Verified(caller, float(expires), cached_until)


def _quota(claims: dict[str, object]) -> int | None:
    quota = claims.get("events_per_minute")
    if quota is None:
        return None
    if not isinstance(quota, int) or isinstance(quota, bool) or quota < 1:
        raise ValueError("events_per_minute is a whole number above 0")
    return quota


def is_open(full_method: str) -> bool:
    """Return whether anybody may call `/package.Service/Method`, without a token."""
    return full_method[1:].partition("/")[0] in OPEN_SERVICES


def required_role(full_method: str) -> Role | None:
    """Return the role that stands beside an RPC in its .proto, or above; None refuses everybody."""
    name = full_method.removeprefix("/").replace("/", ".")
    if (theirs := ROLES_OF_OTHERS.get(name.rpartition(".")[0])) is not None:
        return _ROLES[theirs]
    try:
        method = descriptor_pool.Default().FindMethodByName(name)
    except KeyError:
        return None
    number = method.GetOptions().Extensions[options_pb2.required_role]
    return _ROLES.get(number)
