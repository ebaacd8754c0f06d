"""Receivers that repeat to whoever tells them something all that they were told."""

import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar


class _EchoedPost(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        """Take what is sent to …/taken, and nothing else."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if "/taken" in self.path else 500)
        self.end_headers()
        self.wfile.write(f"{self.requestline} {dict(self.headers)}".encode() + body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def echoing_http() -> Iterator[int]:
    """Yield the port of 127.0.0.1 it listens on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EchoedPost) as server:
        yield from _serving(server)


class _RefusedMail(socketserver.StreamRequestHandler):
    """Refuses who logs in first, then takes the next one's word and refuses the recipient."""

    connections: ClassVar[list[object]] = []

    def handle(self) -> None:
        self.connections.append(self)
        knows = len(self.connections) % 2 == 0
        self._say(b"220 echo")
        while line := self.rfile.readline().strip():
            match line[:4].upper():
                case b"EHLO":
                    self._say(b"250-echo\r\n250 AUTH PLAIN")
                case b"AUTH":
                    self._say(b"235 yes" if knows else b"535 no, not " + line)
                case b"RCPT":
                    self._say(b"450 not now: " + line)
                case b"QUIT":
                    self._say(b"221 bye")
                    return
                case _:
                    self._say(b"250 yes")

    def _say(self, line: bytes) -> None:
        self.wfile.write(line + b"\r\n")


class _TlsServer(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), _RefusedMail)
        self.socket = context.wrap_socket(self.socket, server_side=True)


@contextmanager
def echoing_mail(certificate: Path, key: Path) -> Iterator[int]:
    """Yield the port of 127.0.0.1 where it speaks SMTP in TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    _RefusedMail.connections.clear()
    with _TlsServer(context) as server:
        yield from _serving(server)


def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
