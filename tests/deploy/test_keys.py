"""Keys of the one-machine run: made once, kept, closed to others, never silently replaced."""

import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import HttpUrl, SecretStr

from deploy import keys
from deploy.errors import LaunchError
from gateway.config import GatewaySettings, sources_by_key
from shared.auth import Role, TokenVerifier
from shared.encryption import BlindIndex, Keyring


@pytest.fixture
def directory(scratch_directory: Path) -> Iterator[Path]:
    directory = scratch_directory / "keys"
    directory.mkdir()
    yield directory
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()


def test_secrets_are_made_once_and_fit_the_settings_of_a_service(directory: Path) -> None:
    made = keys.ensure_secrets(directory, ["events"], data_exists=False)
    assert set(made) == {
        "EVENTS_ENCRYPTION_KEYS", "EVENTS_BLIND_INDEX_KEY", "GATEWAY_SECRET", "GATEWAY_WRITE_KEYS",
    }  # fmt: skip
    ring = Keyring.parse(made["EVENTS_ENCRYPTION_KEYS"])
    assert ring.decrypt(ring.encrypt(b"ada", b"user"), b"user") == b"ada"
    assert len(BlindIndex.parse(made["EVENTS_BLIND_INDEX_KEY"]).digest("ada")) == 16
    assert keys.ensure_secrets(directory, ["events"], data_exists=True) == made


def test_the_gateways_secrets_fit_its_settings(directory: Path) -> None:
    made = keys.ensure_secrets(directory, ["events"], data_exists=False)
    settings = GatewaySettings(
        secret=SecretStr(made["GATEWAY_SECRET"]),
        write_keys=SecretStr(made["GATEWAY_WRITE_KEYS"]),
        ingest_token=SecretStr("token"),
        jwks_url=HttpUrl("https://keys.example"),
        jwks_issuer="issuer",
        jwks_audience="brain",
    )
    assert sources_by_key(settings.write_keys) == {keys.write_key(made): "local"}


def test_a_new_service_gets_secrets_of_its_own(directory: Path) -> None:
    before = keys.ensure_secrets(directory, ["events"], data_exists=False)
    after = keys.ensure_secrets(directory, ["events", "alerts"], data_exists=True)
    assert before.items() < after.items()
    assert len(set(after.values())) == 6


def test_lost_secrets_of_existing_data_are_not_replaced(directory: Path) -> None:
    with pytest.raises(LaunchError, match=r"secrets\.env is missing"):
        keys.ensure_secrets(directory, ["events"], data_exists=True)
    assert not (directory / keys.SECRETS).exists()


def test_tokens_verify_with_the_public_key_and_stay_the_same(directory: Path) -> None:
    tokens = keys.ensure_tokens(directory)
    verifier = TokenVerifier((directory / keys.PUBLIC_KEY).read_bytes())
    callers = {name: verifier.verify(token, time.time()) for name, token in tokens.items()}
    assert {name: caller.roles for name, caller in callers.items()} == {
        "ingest": {Role.INGEST},
        "admin": {Role.ADMIN},
    }
    assert keys.ensure_tokens(directory) == tokens


def test_a_new_key_pair_brings_new_tokens(directory: Path) -> None:
    before = keys.ensure_tokens(directory)
    (directory / keys.PUBLIC_KEY).unlink()
    after = keys.ensure_tokens(directory)
    assert before["admin"] != after["admin"]
    TokenVerifier((directory / keys.PUBLIC_KEY).read_bytes()).verify(after["admin"], time.time())


def test_a_removed_token_is_minted_again(directory: Path) -> None:
    keys.ensure_tokens(directory)
    (directory / "admin.token").unlink()
    token = keys.ensure_tokens(directory)["admin"]
    TokenVerifier((directory / keys.PUBLIC_KEY).read_bytes()).verify(token, time.time())


def test_nobody_else_reads_keys_or_tokens(directory: Path) -> None:
    keys.ensure_secrets(directory, ["events"], data_exists=False)
    keys.ensure_tokens(directory)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    # Secrets, the pair, two tokens for people and one for each service that asks others.
    assert len(modes) == 5 + len(keys.SERVICE_ROLES)
    assert set(modes.values()) == {0o600}
