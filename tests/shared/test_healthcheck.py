"""What a container's health check learns from the settings of the server beside it."""

from pathlib import Path

import pytest

from shared.config import ServiceSettings
from shared.healthcheck import end_with_health_of, grpc_is_serving, local_address
from tests.shared.certificates import Authority
from tests.shared.conftest import Start, minimal_settings
from tests.shared.sample_service import eventually


def beside(address: str, **files: Path) -> ServiceSettings:
    """The settings of a server at an address."""
    return ServiceSettings.model_validate({**minimal_settings(), "auth": "off", "address": address, **files})


@pytest.mark.parametrize(
    ("address", "reached_at"),
    [
        ("0.0.0.0:50051", "127.0.0.1:50051"),
        ("[::]:50051", "[::1]:50051"),
        ("10.1.2.3:50051", "10.1.2.3:50051"),
        ("unix:/tmp/events.sock", "unix:/tmp/events.sock"),
    ],
)
def test_a_server_that_listens_everywhere_is_reached_on_loopback(address: str, reached_at: str) -> None:
    assert local_address(address) == reached_at


def test_it_tells_serving_from_not_serving_and_from_nobody(start: Start) -> None:
    is_ready = [True]
    served = start(ready=lambda: is_ready[0])
    settings = beside(f"0.0.0.0:{served.running.port}")
    assert grpc_is_serving(settings)
    is_ready[0] = False
    eventually(lambda: not grpc_is_serving(settings))
    is_ready[0] = True
    eventually(lambda: grpc_is_serving(settings))
    served.running.stop()
    assert not grpc_is_serving(settings)


@pytest.mark.parametrize("mutual", [False, True])
def test_it_trusts_the_certificate_of_the_settings_and_no_other(
    start: Start, tmp_path: Path, *, mutual: bool
) -> None:
    authority = Authority()
    files = _write(tmp_path, "right", authority) | ({"tls_client_ca_file": tmp_path / "ca"} if mutual else {})
    (tmp_path / "ca").write_bytes(authority.pem)
    served = start(None, lambda: True, **files)
    assert grpc_is_serving(beside(served.address, **files))
    other = files | _write(tmp_path, "other", Authority())
    assert not grpc_is_serving(beside(served.address, **other))


def _write(directory: Path, name: str, authority: Authority) -> dict[str, Path]:
    certificate, key = directory / f"{name}.certificate", directory / f"{name}.key"
    for path, content in zip((certificate, key), authority.issue("events.example"), strict=True):
        path.write_bytes(content)
    return {"tls_certificate_file": certificate, "tls_key_file": key}


def test_the_exit_code_tells(start: Start) -> None:
    served = start()
    with pytest.raises(SystemExit, match=r"^0$"):
        end_with_health_of(beside(served.address))
    served.running.stop()
    with pytest.raises(SystemExit, match=r"^1$"):
        end_with_health_of(beside(served.address))
