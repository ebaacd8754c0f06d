"""Tokens: whose they are, and which are refused."""

import base64
import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from shared import auth
from shared.auth import Caller, JwksVerifier, Role, TokenVerifier
from shared.errors import Unauthenticated, Unavailable

NOW = 1_700_000_000.0
Keys = tuple[bytes, bytes]


def refusal(verifier: auth.Verifier, token: str, now: float = NOW) -> str:
    with pytest.raises(Unauthenticated) as caught:
        verifier.verify(token, now)
    return caught.value.reason


def test_a_token_tells_subject_and_roles(token_keys: Keys) -> None:
    token = auth.mint_token(token_keys[0], "shop", [Role.INGEST, Role.ANALYST], None, NOW)
    caller = TokenVerifier(token_keys[1]).verify(token, NOW + 1e9)
    assert caller == Caller("shop", frozenset({Role.INGEST, Role.ANALYST}))


def test_a_token_may_carry_a_quota(token_keys: Keys) -> None:
    token = auth.mint_token(token_keys[0], "shop", [Role.INGEST], None, NOW, 600)
    caller = TokenVerifier(token_keys[1]).verify(token, NOW)
    assert caller == Caller("shop", frozenset({Role.INGEST}), events_per_minute=600)


@pytest.mark.parametrize("quota", [0, -1, True, "600", 1.5, []])
def test_a_quota_that_is_none_makes_a_token_invalid(token_keys: Keys, quota: object) -> None:
    claims = {"iss": "brain", "sub": "shop", "roles": ["ingest"], "events_per_minute": quota}
    token = jwt.encode(claims, token_keys[0].decode(), algorithm="EdDSA")
    assert refusal(TokenVerifier(token_keys[1]), token) == "TOKEN_INVALID"


def test_a_token_expires_even_after_it_was_verified(token_keys: Keys) -> None:
    verifier = TokenVerifier(token_keys[1])
    token = auth.mint_token(token_keys[0], "shop", [Role.INGEST], 60, NOW)
    assert verifier.verify(token, NOW + 59).subject == "shop"
    assert refusal(verifier, token, NOW + 60) == "TOKEN_EXPIRED"


@pytest.mark.parametrize("token", ["x", "a.b.c", "ey.ey.ey", "\N{SNOWMAN}", "a" * 8_000])
def test_garbled_tokens_are_invalid(token_keys: Keys, token: str) -> None:
    assert refusal(TokenVerifier(token_keys[1]), token) == "TOKEN_INVALID"


def test_no_token_is_missing(token_keys: Keys) -> None:
    assert refusal(TokenVerifier(token_keys[1]), "") == "TOKEN_MISSING"


def test_a_token_of_another_key_is_invalid(token_keys: Keys) -> None:
    foreign, _ = auth.generate_keys()
    token = auth.mint_token(foreign, "shop", [Role.ADMIN], None, NOW)
    assert refusal(TokenVerifier(token_keys[1]), token) == "TOKEN_INVALID"


def test_altered_claims_are_invalid(token_keys: Keys) -> None:
    token = auth.mint_token(token_keys[0], "shop", [Role.INGEST], None, NOW)
    header, _, signature = token.split(".")
    claims = {"iss": "brain", "sub": "shop", "roles": ["admin"]}
    altered = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert refusal(TokenVerifier(token_keys[1]), f"{header}.{altered}.{signature}") == "TOKEN_INVALID"


def unsigned_token(claims: dict[str, object]) -> str:
    return jwt.encode(claims, "", algorithm="none")


def hmac_token(claims: dict[str, object], secret: bytes) -> str:
    # By hand: the library will not sign with a public key.
    import hashlib  # noqa: PLC0415 - only the attack needs it
    import hmac  # noqa: PLC0415 - the same

    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    text = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).decode().rstrip("=") for p in parts)
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_the_token_does_not_choose_its_algorithm(token_keys: Keys) -> None:
    verifier = TokenVerifier(token_keys[1])
    claims: dict[str, object] = {"iss": "brain", "sub": "thief", "roles": ["admin"]}
    assert refusal(verifier, unsigned_token(claims)) == "TOKEN_INVALID"
    assert refusal(verifier, hmac_token(claims, token_keys[1])) == "TOKEN_INVALID"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "shop"},
        {"iss": "brain"},
        {"iss": "other", "sub": "shop"},
        {"iss": "brain", "sub": "shop", "roles": "admin"},
        {"iss": "brain", "sub": "shop", "exp": "never"},
        {"iss": "brain", "sub": "shop", "nbf": NOW + 3_600},
    ],
)
def test_claims_that_miss_or_lie_are_invalid(token_keys: Keys, claims: dict[str, object]) -> None:
    key = load_pem_private_key(token_keys[0], None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    token = jwt.encode(claims, key, algorithm="EdDSA")
    assert refusal(TokenVerifier(token_keys[1]), token) == "TOKEN_INVALID"


def test_unknown_roles_are_left_out(token_keys: Keys) -> None:
    key = load_pem_private_key(token_keys[0], None)
    assert isinstance(key, ed25519.Ed25519PrivateKey)
    token = jwt.encode({"iss": "brain", "sub": "a", "roles": ["ingest", "janitor"]}, key, algorithm="EdDSA")
    assert TokenVerifier(token_keys[1]).verify(token, NOW).roles == {Role.INGEST}


class Provider:
    """An identity provider's JWKS endpoint; counts how often it is asked."""

    def __init__(self, keys: list[dict[str, object]]) -> None:
        self.asked = 0
        body = json.dumps({"keys": keys}).encode()

        class Answer(BaseHTTPRequestHandler):
            def do_GET(answer) -> None:  # noqa: N805 - self is the provider
                self.asked += 1
                answer.send_response(200)
                answer.end_headers()
                answer.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Answer)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


EC_KEY = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def provider(token_keys: Keys) -> Iterator[Provider]:
    public = load_pem_public_key(token_keys[1])
    assert isinstance(public, ed25519.Ed25519PublicKey)
    keys = [
        {**OKPAlgorithm.to_jwk(public, as_dict=True), "kid": "ours", "alg": "EdDSA", "use": "sig"},
        {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "theirs", "use": "sig"},
    ]
    served = Provider(keys)
    yield served
    served.close()


ISSUER = "https://id.example"


def verifier_of(provider: Provider) -> JwksVerifier:
    return JwksVerifier(provider.url, issuer=ISSUER, audience="brain")


def provider_token(kid: str, subject: str = "person", lifetime: float = 60, **others: object) -> str:
    claims = {
        "iss": ISSUER,
        "sub": subject,
        "aud": ["brain", "mail"],
        "roles": ["analyst"],
        "exp": NOW + lifetime,
        **others,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, EC_KEY, algorithm="ES256", headers={"kid": kid})


def test_a_providers_key_verifies_its_tokens_and_is_fetched_once(provider: Provider) -> None:
    verifier = verifier_of(provider)
    for subject in ("ada", "bob"):
        assert verifier.verify(provider_token("theirs", subject), NOW) == Caller(
            subject, frozenset({Role.ANALYST})
        )
    assert provider.asked == 1
    assert refusal(verifier, provider_token("theirs", "bob"), NOW + 60) == "TOKEN_EXPIRED"


@pytest.mark.parametrize(
    "others", [{"iss": "https://other.example"}, {"iss": None}, {"aud": "mail"}, {"aud": []}, {"aud": None}]
)
def test_a_token_the_provider_made_for_others_is_invalid(
    provider: Provider, others: dict[str, object]
) -> None:
    assert verifier_of(provider).verify(provider_token("theirs", aud="brain"), NOW).subject == "person"
    assert refusal(verifier_of(provider), provider_token("theirs", "person", 60, **others)) == "TOKEN_INVALID"


def test_unknown_key_ids_do_not_flood_the_provider(provider: Provider) -> None:
    verifier = verifier_of(provider)
    for number in range(20):
        assert refusal(verifier, provider_token(f"made-up-{number}")) == "TOKEN_INVALID"
    assert provider.asked == 1


def test_a_key_of_the_provider_signs_only_with_its_own_algorithm(provider: Provider) -> None:
    assert refusal(verifier_of(provider), provider_token("ours")) == "TOKEN_INVALID"
    assert refusal(verifier_of(provider), unsigned_token({"sub": "thief"})) == "TOKEN_INVALID"


def test_an_unreachable_provider_is_unavailable_not_unauthenticated(provider: Provider) -> None:
    provider.close()
    with pytest.raises(Unavailable) as caught:
        verifier_of(provider).verify(provider_token("theirs"), NOW)
    assert caught.value.reason == "KEYS_UNAVAILABLE"
