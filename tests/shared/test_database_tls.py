"""A database URL with sslmode=verify-full reaches the server its authority knows, and nobody else.

The embedded PostgreSQL is built without TLS: before it stands what speaks it in its place.
"""

import select
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Protocol

import pytest
import sqlalchemy

from shared.database import create_engine, is_reachable
from tests.shared.certificates import Authority

# What a client asks before it speaks of anything else (PostgreSQL, 54.2.10 SSL Session Encryption).
SSL_REQUEST = struct.pack("!II", 8, 80877103)


def pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either says until one of them ends."""
    with suppress(OSError), one, other:
        while True:
            pending = isinstance(one, ssl.SSLSocket) and one.pending()
            for source in [one] if pending else select.select([one, other], [], [], 10)[0]:
                data = source.recv(65_536)
                if not data:
                    return
                (other if source is one else one).sendall(data)


def front(listener: socket.socket, context: ssl.SSLContext | None, server: str) -> None:
    """Serve until the listener is closed; without a context as a server that knows no TLS."""
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            if client.recv(8) != SSL_REQUEST or context is None:
                client.sendall(b"N")
                client.close()
                continue
            client.sendall(b"S")
            with suppress(OSError):
                secure = context.wrap_socket(client, server_side=True)
                behind = socket.socket(socket.AF_UNIX)
                behind.connect(server)
                Thread(target=pump, args=(secure, behind), daemon=True).start()


@contextmanager
def fronted(url: str, context: ssl.SSLContext | None) -> Iterator[int]:
    """Yield the port where the server of a URL speaks TLS."""
    where = sqlalchemy.make_url(url).query
    server = f"{where['host']}/.s.PGSQL.{where['port']}"
    with socket.create_server(("localhost", 0)) as listener:
        thread = Thread(target=front, args=(listener, context, server))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


class Reaches(Protocol):
    def __call__(
        self, host: str = ..., trusted: Authority | None = ..., *, speaks_tls: bool = ...
    ) -> bool: ...


@pytest.fixture
def reaches(funnels_database: str, tmp_path: Path) -> Iterator[Reaches]:
    """Whether a service's engine reaches the database at a host, trusting an authority."""
    authority = Authority()
    certificate, key = authority.issue("localhost")
    (tmp_path / "pair").write_bytes(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair")
    with ExitStack() as stack:

        def ask(
            host: str = "localhost", trusted: Authority | None = None, *, speaks_tls: bool = True
        ) -> bool:
            (tmp_path / "ca").write_bytes((trusted or authority).pem)
            port = stack.enter_context(fronted(funnels_database, context if speaks_tls else None))
            query = {"sslmode": "verify-full", "sslrootcert": str(tmp_path / "ca")}
            url = sqlalchemy.make_url(funnels_database).set(host=host, port=port, query=query)
            text = url.render_as_string(hide_password=False)
            engine = create_engine(text, schema="funnels", pool_size=1, application_name="test")
            stack.callback(engine.dispose)
            return is_reachable(engine)

        yield ask


def test_the_server_that_the_authority_knows_is_reached(reaches: Reaches) -> None:
    assert reaches()


def test_a_server_of_another_authority_is_not(reaches: Reaches) -> None:
    assert not reaches(trusted=Authority())


def test_a_server_of_another_name_is_not(reaches: Reaches) -> None:
    assert not reaches("127.0.0.1")


def test_a_server_without_tls_is_not(reaches: Reaches) -> None:
    assert not reaches(speaks_tls=False)
