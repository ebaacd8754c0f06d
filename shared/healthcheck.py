"""Asks a server that runs with the same settings whether it serves: what a container's health check runs."""

import ssl
import sys
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.error import URLError
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

if TYPE_CHECKING:
    from shared.config import ServerSettings

_SECONDS: Final = 3.0
# Where a server listens that listens everywhere.
_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - a key, nothing listens here


def end_with_health_of(settings: "ServerSettings", *, speaks_http: bool = False) -> None:
    """End this process: with code 0 if the server of these settings says that it serves, else with 1."""
    healthy = http_is_serving(settings) if speaks_http else grpc_is_serving(settings)
    sys.exit(0 if healthy else 1)


def grpc_is_serving(settings: "ServerSettings") -> bool:
    """Ask the health of a gRPC server once, over TLS if the settings say so.

    The server must show the very certificate of the settings. Where it asks clients for one, it is shown its
    own, which must then be good for clients too.
    """
    address = local_address(settings.address)
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return says_serving(address)
    certificate = settings.tls_certificate_file.read_bytes()
    mutual = settings.tls_client_ca_file is not None
    credentials = grpc.ssl_channel_credentials(
        root_certificates=certificate,
        private_key=settings.tls_key_file.read_bytes() if mutual else None,
        certificate_chain=certificate if mutual else None,
    )
    return says_serving(address, credentials, _host_of(certificate))


def local_address(address: str) -> str:
    """Return where this machine reaches a server that listens at `address`."""
    host, _, port = address.rpartition(":")
    return f"{_LOOPBACK.get(host, host)}:{port}"


def says_serving(address: str, credentials: grpc.ChannelCredentials | None = None, host: str = "") -> bool:
    """Ask the health of a gRPC server once; with credentials over TLS, where it must be `host`."""
    options = [("grpc.enable_http_proxy", 0), ("grpc.ssl_target_name_override", host)]
    with (
        grpc.insecure_channel(address, options[:1])
        if credentials is None
        else grpc.secure_channel(address, credentials, options)
    ) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=_SECONDS)  # type: ignore[attr-defined]  # stubs lack it
        except grpc.RpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _host_of(certificate: bytes) -> str:
    from cryptography import x509  # noqa: PLC0415 - only TLS needs it, and a check should be quick

    first = x509.load_pem_x509_certificates(certificate)[0]
    names = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = names.get_values_for_type(x509.DNSName) or names.get_values_for_type(x509.IPAddress)
    return str(hosts[0]).replace("*", "any", 1)


def http_is_serving(settings: "ServerSettings") -> bool:
    """Ask the health of an HTTP server once, as `grpc_is_serving` does."""
    certificate = settings.tls_certificate_file
    scheme = "http" if certificate is None else "https"
    handlers = () if certificate is None else (HTTPSHandler(context=_context(settings, certificate)),)
    opener = build_opener(ProxyHandler({}), *handlers)
    try:
        with opener.open(f"{scheme}://{local_address(settings.address)}/healthz", timeout=_SECONDS) as reply:
            return bool(reply.status == HTTPStatus.OK)
    except (URLError, TimeoutError, ConnectionError):  # a code above 400 among them
        return False


def _context(settings: "ServerSettings", certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # this certificate itself, whoever issued it
    context.check_hostname = False
    if settings.tls_client_ca_file is not None and settings.tls_key_file is not None:
        context.load_cert_chain(certificate, settings.tls_key_file)
    return context
