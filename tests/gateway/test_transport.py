"""How the gateway itself is reached, and how it reaches the service: TLS, measures, its own settings."""

import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from gateway.config import GatewaySettings
from shared.healthcheck import http_is_serving
from tests.gateway.conftest import SECRET, Gateway
from tests.shared.certificates import Authority


def test_https_with_a_certificate(start_gateway: Callable[..., Gateway], tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost")
    for name, content in (("ca", authority.pem), ("key", key), ("certificate", certificate)):
        (tmp_path / name).write_bytes(content)
    gateway = start_gateway(tls_key_file=tmp_path / "key", tls_certificate_file=tmp_path / "certificate")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "ca"))
    url = gateway.url.replace("http://127.0.0.1", "https://localhost")
    assert httpx.get(f"{url}/healthz", verify=trusting).json() == {"status": "serving"}


@pytest.mark.parametrize("encrypted", [False, True])
def test_its_health_check_reaches_it(
    start_gateway: Callable[..., Gateway], public_key_file: Path, tmp_path: Path, *, encrypted: bool
) -> None:
    files = {"tls_certificate_file": tmp_path / "certificate", "tls_key_file": tmp_path / "key"}
    for path, content in zip(files.values(), Authority().issue("shop.example"), strict=True):
        path.write_bytes(content)
    gateway = start_gateway(**(files if encrypted else {}))
    values = {"secret": SECRET, "token_public_key_file": public_key_file, **(files if encrypted else {})}
    settings = GatewaySettings.model_validate({**values, "address": gateway.url.removeprefix("http://")})
    assert http_is_serving(settings)
    # Nobody listens on TCP's port 1.
    assert not http_is_serving(settings.model_copy(update={"address": "127.0.0.1:1"}))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"secret": "short"}, "secret"),
        ({"write_keys": "nokey"}, "write_keys"),
        ({"write_keys": "a:k,b:k"}, "write_keys"),
        ({"write_keys": "a:k"}, "write_keys and ingest_token need each other"),
        ({"address": "unix:/somewhere"}, "host:port"),
        ({"currency": "euro"}, "currency"),
        ({"token_public_key_file": None}, "exactly one"),
    ],
)
def test_wrong_settings_are_refused(public_key_file: Path, wrong: dict[str, object], told: str) -> None:
    right = {"secret": SECRET, "token_public_key_file": public_key_file}
    GatewaySettings.model_validate(right)
    with pytest.raises(ValidationError, match=told):
        GatewaySettings.model_validate({**right, **wrong})
