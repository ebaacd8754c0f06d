"""Keys of an identity provider: rotated, withdrawn, out of reach."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from shared.auth import JwksVerifier
from shared.errors import ServiceError
from tests.waiting import until

ISSUER = "https://id.example"
MINUTE = 60.0
AWAY, INVALID = "Unavailable KEYS_UNAVAILABLE", "Unauthenticated TOKEN_INVALID"
KEYS = {kid: ec.generate_private_key(ec.SECP256R1()) for kid in ("old", "new")}


class Provider:
    """An identity provider that tells of keys, or of something else."""

    def __init__(self) -> None:
        self.asked = 0
        self.body = b""
        self.code = 200
        self.may_answer = Event()
        self.may_answer.set()
        self.tell("old")

        class Answer(BaseHTTPRequestHandler):
            def do_GET(answer) -> None:  # noqa: N805 - self is the provider
                self.asked += 1
                self.may_answer.wait(10)
                answer.send_response(self.code)
                answer.end_headers()
                answer.wfile.write(self.body)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._thread = Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/jwks"

    def tell(self, *kids: str) -> None:
        keys = [{**ECAlgorithm.to_jwk(KEYS[kid].public_key(), as_dict=True), "kid": kid} for kid in kids]
        self.code, self.body = 200, json.dumps({"keys": keys}).encode()

    def fail(self, code: int = 503, body: bytes = b"") -> None:
        self.code, self.body = code, body

    def close(self) -> None:
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Clock:
    """Seconds, both since 1970 and since whenever."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    made = Provider()
    yield made
    made.close()


class Verifying:
    """A verifier and tokens for it, a new one each time: what was verified before would be remembered."""

    def __init__(self, provider: Provider, clock: Clock) -> None:
        self.clock = clock
        self._verifier = JwksVerifier(provider.url, issuer=ISSUER, audience="brain", clock=clock)
        self._made = 0

    def token(self, kid: str) -> str:
        self._made += 1
        claims = {"iss": ISSUER, "aud": "brain", "sub": f"person {self._made}"}
        return jwt.encode(claims, KEYS[kid], algorithm="ES256", headers={"kid": kid})

    def verdict(self, token: str) -> str:
        """What becomes of a call with a token: OK, or the reason of its refusal."""
        try:
            self._verifier.verify(token, self.clock.now)
        except ServiceError as error:
            return f"{type(error).__name__} {error.reason}"
        return "OK"

    def tries(self, kid: str) -> str:
        return self.verdict(self.token(kid))


@pytest.fixture
def verifying(provider: Provider) -> Verifying:
    return Verifying(provider, Clock())


def test_a_new_key_is_fetched_when_it_signs(provider: Provider, verifying: Verifying) -> None:
    assert verifying.tries("old") == "OK"
    provider.tell("old", "new")
    verifying.clock.now += 31
    assert [verifying.tries(kid) for kid in ("new", "old", "new")] == ["OK"] * 3
    assert provider.asked == 2


def test_a_withdrawn_key_ends_within_five_minutes(provider: Provider, verifying: Verifying) -> None:
    assert verifying.tries("old") == "OK"
    provider.tell("new")
    verifying.clock.now += 2 * MINUTE
    used = verifying.token("old")
    assert verifying.verdict(used) == "OK", "nobody asked again yet"
    verifying.clock.now += 3 * MINUTE
    assert verifying.verdict(used) == INVALID, "not even one that was verified before"
    assert verifying.tries("old") == INVALID
    assert verifying.tries("new") == "OK"


def test_keys_are_fetched_every_few_minutes_and_not_for_each_token(
    provider: Provider, verifying: Verifying
) -> None:
    for _ in range(60):
        assert verifying.tries("old") == "OK"
        verifying.clock.now += 10
    assert provider.asked == 4


def test_a_provider_away_at_the_start_is_asked_again(provider: Provider, verifying: Verifying) -> None:
    provider.fail()
    assert [verifying.tries("old") for _ in range(20)] == [AWAY] * 20
    assert provider.asked == 1, "not for each call: every one would wait for it"
    provider.tell("old")
    verifying.clock.now += 5
    assert verifying.tries("old") == "OK"


def test_known_keys_outlast_an_hour_without_their_provider(provider: Provider, verifying: Verifying) -> None:
    assert verifying.tries("old") == "OK"
    provider.fail()
    for _ in range(59):
        verifying.clock.now += MINUTE
        assert verifying.tries("old") == "OK"
        assert verifying.tries("new") == AWAY, "it may be good: who knows"
    verifying.clock.now += 2 * MINUTE
    assert verifying.tries("old") == AWAY
    provider.tell("new")
    verifying.clock.now += 5
    assert [verifying.tries(kid) for kid in ("new", "old")] == ["OK", INVALID]


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (200, b"<html>Sign in to the guest network</html>"),
        (200, b'{"keys": []}'),
        (200, b'{"keys": ["none"]}'),
        (200, b"[]"),
        (200, b"\xff\xfe"),
        (200, b""),
        (404, b"{}"),
        (302, b""),
    ],
)
def test_an_answer_that_is_no_keys_is_no_reason_to_refuse_a_token(
    provider: Provider, verifying: Verifying, code: int, body: bytes
) -> None:
    provider.fail(code, body)
    assert verifying.tries("old") == AWAY


def test_who_has_a_known_key_does_not_wait_for_a_slow_provider(
    provider: Provider, verifying: Verifying
) -> None:
    assert verifying.tries("old") == "OK"
    verifying.clock.now += 3 * MINUTE
    provider.may_answer.clear()
    with ThreadPoolExecutor(1) as asking:
        waits = asking.submit(verifying.tries, "old")
        until(lambda: provider.asked == 2)
        assert verifying.tries("old") == "OK"
        assert not waits.done()
        provider.may_answer.set()
        assert waits.result() == "OK"
