"""TLS of servers: certificates from files, read again for the first connection after they change."""

import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ServerFiles:
    """Where a server's certificate chain and its key lie, and the authority that clients must be known to.

    All PEM. Without `client_ca` anybody may connect.
    """

    certificate: Path
    key: Path
    client_ca: Path | None

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """Return certificate, key and client authority; raise ValueError unless they fit, or OSError."""
        certificate, key = self.certificate.read_bytes(), self.key.read_bytes()
        client_ca = None if self.client_ca is None else self.client_ca.read_bytes()
        try:
            private = load_pem_private_key(key, None)
        except TypeError:
            raise ValueError("the key is encrypted: a server has nobody to ask for its passphrase") from None
        if x509.load_pem_x509_certificates(certificate)[0].public_key() != private.public_key():
            raise ValueError("the certificate belongs to another key")
        if client_ca is not None:
            x509.load_pem_x509_certificates(client_ca)
        return certificate, key, client_ca

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """Return what changes with the files; raise OSError."""
        paths = (self.certificate, self.key, self.client_ca)
        found = [path.stat() for path in paths if path is not None]
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)


def grpc_credentials(files: ServerFiles) -> grpc.ServerCredentials:
    """Return what a gRPC server shows and asks for, up to date for each new connection."""
    followed = _Followed(files, _grpc_configuration)
    return grpc.dynamic_ssl_server_credentials(
        followed.first,
        followed.news,  # type: ignore[arg-type]  # the stubs forget that None means "as before"
        require_client_authentication=files.client_ca is not None,
    )


def https_context(files: ServerFiles) -> ssl.SSLContext:
    """Return the context of an HTTPS server, up to date for each new connection."""
    followed = _Followed(files, _context)
    newest = followed.first

    def choose(connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        nonlocal newest
        newest = followed.news() or newest
        connection.context = newest

    # Called in the middle of each handshake, whether or not the client names a server.
    followed.first.sni_callback = choose
    return followed.first


def _grpc_configuration(files: ServerFiles) -> grpc.ServerCertificateConfiguration:
    certificate, key, client_ca = files.read()
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=client_ca)


def _context(files: ServerFiles) -> ssl.SSLContext:
    files.read()  # tells better than OpenSSL what is wrong
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class _Followed(Generic[T]):
    """What is made of files, made anew once they change and fit together. Safe for threads."""

    def __init__(self, files: ServerFiles, make: Callable[[ServerFiles], T]) -> None:
        self._files = files
        self._make = make
        self._seen = files.stamp()
        self._lock = Lock()
        self.first = make(files)

    def news(self) -> T | None:
        """Return what the files are now if they changed, None while they did not or do not fit.

        Between the replacing of one file and the next they do not: then what was read last stays in use.
        """
        with self._lock:
            try:
                stamp = self._files.stamp()
                if stamp == self._seen:
                    return None
                self._seen = stamp
                made = self._make(self._files)
            except (OSError, ValueError) as error:  # of ssl, too
                _logger.warning("certificate not replaced", extra={"cause": type(error).__name__})
                return None
            _logger.info("certificate replaced", extra={"file": str(self._files.certificate)})
            return made
