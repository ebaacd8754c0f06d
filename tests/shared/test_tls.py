"""TLS of servers and channels: who is let in, who trusts whom, and certificates that are replaced."""

import os
import socket
import ssl
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import ValidationError

from shared.clients import Tls, read_tls
from shared.config import ServiceSettings, check_client_files
from shared.tls import ServerFiles
from tests.shared.certificates import Authority
from tests.shared.conftest import Served, Start, minimal_settings

SERVING = health_pb2.HealthCheckResponse.SERVING
STRANGER = Authority()


@dataclass(frozen=True)
class Files:
    """A server's files, issued by an authority."""

    directory: Path

    def issue(self, authority: Authority) -> None:
        certificate, key = authority.issue("localhost")
        self.replace("certificate", certificate)
        self.replace("key", key)
        self.replace("ca", authority.pem)

    def replace(self, name: str, content: bytes) -> None:
        """As tools do that renew certificates: whole, at once."""
        path = self.directory / f"{name}.new"
        path.write_bytes(content)
        path.rename(self.directory / name)

    def settings(self, *, mutual: bool = True) -> dict[str, object]:
        found: dict[str, object] = {
            f"tls_{name}_file": self.directory / name for name in ("certificate", "key")
        }
        return found | {"tls_client_ca_file": self.directory / "ca"} if mutual else found


@pytest.fixture
def authority() -> Authority:
    return Authority()


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    made = Files(tmp_path)
    made.issue(authority)
    return made


def shown_by(trusted: Authority, issuer: Authority | None) -> Tls:
    if issuer is None:
        return Tls(trusted.pem)
    return Tls(trusted.pem, *issuer.issue("localhost"))


def is_let_in(served: Served, tls: Tls | None) -> bool:
    address = f"localhost:{served.running.port}"
    once = (("grpc.enable_retries", 0),)
    plain = grpc.insecure_channel(address, once)
    with plain if tls is None else grpc.secure_channel(address, tls.credentials, once) as channel:
        try:
            reply = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)  # type: ignore[attr-defined]  # stubs lack it
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - that it answers is as fine
            return False
    return bool(reply.status == SERVING)


def test_a_server_that_asks_for_certificates_lets_in_who_shows_a_right_one(
    start: Start, files: Files, authority: Authority
) -> None:
    served = start(None, lambda: True, **files.settings())
    assert is_let_in(served, shown_by(authority, authority))
    assert not is_let_in(served, shown_by(authority, None))
    assert not is_let_in(served, shown_by(authority, STRANGER))
    assert not is_let_in(served, None)


def test_a_client_talks_to_nobody_whom_its_authority_does_not_know(
    start: Start, files: Files, authority: Authority
) -> None:
    served = start(None, lambda: True, **files.settings(mutual=False))
    assert is_let_in(served, shown_by(authority, None))
    assert not is_let_in(served, shown_by(STRANGER, None))


def test_certificates_that_are_replaced_are_shown_to_the_next_who_connects(
    start: Start, files: Files, authority: Authority
) -> None:
    served = start(None, lambda: True, **files.settings())
    next_one = Authority()
    certificate, key = next_one.issue("localhost")
    files.replace("certificate", certificate)
    assert is_let_in(served, shown_by(authority, authority)), "half of a pair is of no use yet"
    files.replace("key", key)
    assert is_let_in(served, shown_by(next_one, authority))
    assert not is_let_in(served, shown_by(authority, authority))
    files.replace("ca", next_one.pem)
    assert is_let_in(served, shown_by(next_one, next_one))
    assert not is_let_in(served, shown_by(next_one, authority))


def scrape(served: Served, tls: ssl.SSLContext | None) -> str:
    scheme = "http" if tls is None else "https"
    url = f"{scheme}://localhost:{served.running.metrics_port}/metrics"
    with urllib.request.urlopen(url, context=tls, timeout=5) as reply:
        return str(reply.read().decode())


def context(trusted: Authority, issuer: Authority | None, directory: Path) -> ssl.SSLContext:
    made = ssl.create_default_context(cadata=trusted.pem.decode())
    if issuer is not None:
        certificate, key = issuer.issue("scraper")
        (directory / "pair").write_bytes(certificate + key)
        made.load_cert_chain(directory / "pair")
    return made


def test_metrics_are_as_closed_as_their_server(
    start: Start, files: Files, authority: Authority, tmp_path: Path
) -> None:
    served = start(None, lambda: True, **files.settings())
    with socket.create_connection(("localhost", served.running.metrics_port or 0)):  # says nothing
        assert "grpc_server_started_total" in scrape(served, context(authority, authority, tmp_path))
    for issuer in (None, STRANGER):
        with pytest.raises(OSError):
            scrape(served, context(authority, issuer, tmp_path))
    with pytest.raises(OSError):
        scrape(served, None)


def test_metrics_show_a_replaced_certificate(
    start: Start, files: Files, authority: Authority, tmp_path: Path
) -> None:
    served = start(None, lambda: True, **files.settings())
    scrape(served, context(authority, authority, tmp_path))
    next_one = Authority()
    files.issue(next_one)
    assert "grpc_server" in scrape(served, context(next_one, next_one, tmp_path))
    with pytest.raises(OSError):
        scrape(served, context(next_one, authority, tmp_path))


def test_files_that_do_not_fit_are_refused_at_the_start(files: Files, public_key_file: Path) -> None:
    files.replace("key", STRANGER.issue("localhost")[1])
    chosen = {**minimal_settings(), "token_public_key_file": public_key_file, **files.settings()}
    with pytest.raises(ValidationError, match="belongs to another key") as caught:
        ServiceSettings(**chosen)  # type: ignore[arg-type]  # any field
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("name", ["certificate", "key", "ca"])
def test_files_that_are_no_certificates_are_refused(files: Files, name: str) -> None:
    files.replace(name, b"no PEM")
    paths = ServerFiles(files.directory / "certificate", files.directory / "key", files.directory / "ca")
    with pytest.raises(ValueError):
        paths.read()


def test_what_a_client_shows_is_whole() -> None:
    here = Path(os.devnull)
    check_client_files("events", None, None, None)
    check_client_files("events", here, here, here)
    for given in ((here, here, None), (here, None, here), (None, here, here)):
        with pytest.raises(ValueError, match="events_certificate_file"):
            check_client_files("events", *given)
    with pytest.raises(ValueError, match="need each other"):
        Tls(b"ca", b"certificate")
    assert read_tls(None, None, None) is None
    assert "secret" not in repr(Tls(b"ca", b"certificate", b"secret"))
