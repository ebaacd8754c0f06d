"""Receivers to tell: real HTTP and SMTP servers in this process, which answer as they are told."""

import json
import socket
import threading
import time
from asyncio import WriteTransport
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes
    # When, in Unix seconds.
    time: float
    # What was answered.
    status: int

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.body)


@dataclass
class Receiver:
    """An HTTP server: `answers` are (status, headers) for the next requests, then what `otherwise` says."""

    url: str
    received: list[Received] = field(default_factory=list)
    answers: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    otherwise: Callable[[], tuple[int, dict[str, str]]] = lambda: (200, {})
    # The body of answers, in place of "told" and the status.
    says: str = ""

    def answer(self, *statuses: int, **headers: str) -> None:
        self.answers.extend((status, headers) for status in statuses)


@contextmanager
def http_receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, headers = receiver.answers.popleft() if receiver.answers else receiver.otherwise()
            sent = dict(self.headers.items())
            receiver.received.append(Received(self.path, sent, body, time.time(), status))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write((receiver.says or f"told {status}").encode())

        def log_message(self, *_arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield receiver
        server.shutdown()
        thread.join()


@dataclass
class Mailbox:
    """An SMTP server: `refusals` answer the next messages, "drop" cuts the connection off."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    refusals: deque[str] = field(default_factory=deque)
    attempts: list[str] = field(default_factory=list)
    # So many of the next connections are reset in the middle of a message, once that has been done.
    cuts: int = 0
    in_the_middle: Callable[[], object] = lambda: None
    # The Message-IDs of those.
    cut_off: list[str] = field(default_factory=list)
    # Done once a message was taken, before that is said.
    once_taken: Callable[[], object] = lambda: None
    # Answer the next senders and recipients, in place of taking them.
    sender_refusals: deque[str] = field(default_factory=deque)
    recipient_refusals: deque[str] = field(default_factory=deque)
    # What QUIT is answered with, in place of a farewell.
    farewell: str = ""

    async def handle_MAIL(  # noqa: N802 - as aiosmtpd names it
        self, _server: SMTP, _session: object, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.sender_refusals:
            return self.sender_refusals.popleft()
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802 - as aiosmtpd names it
        self, _server: SMTP, _session: object, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self.recipient_refusals:
            return self.recipient_refusals.popleft()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: object, envelope: Envelope) -> str:  # noqa: N802
        mail = BytesParser(EmailMessage, policy=default).parsebytes(envelope.original_content or b"")
        self.attempts.append(str(mail["Message-ID"]))
        refusal = self.refusals.popleft() if self.refusals else ""
        if refusal == "drop":
            assert isinstance(server.transport, WriteTransport)
            server.transport.abort()
            return "250 never seen"
        if refusal:
            return refusal
        self.mails.append(mail)
        self.once_taken()
        return "250 taken"


class _CuttingServer(SMTP):
    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802 - as the protocol writes it
        mailbox = self.event_handler
        if not mailbox.cuts:
            await super().smtp_DATA(arg)
            return
        mailbox.cuts -= 1
        await self.push("354 go on")
        assert self._reader is not None
        await self._reader.readuntil(b"\r\nMessage-ID:")
        mailbox.cut_off.append((await self._reader.readline()).decode().strip())
        mailbox.in_the_middle()
        assert isinstance(self.transport, WriteTransport)
        self.transport.abort()

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802 - as the protocol writes it
        mailbox = self.event_handler
        if not mailbox.farewell:
            await super().smtp_QUIT(arg)
            return
        await self.push(mailbox.farewell)
        assert isinstance(self.transport, WriteTransport)
        self.transport.abort()


class _Controller(Controller):
    def factory(self) -> SMTP:
        return _CuttingServer(self.handler, **self.SMTP_kwargs)


@contextmanager
def mail_receiver(**options: Any) -> Iterator[Mailbox]:  # noqa: ANN401 - of aiosmtpd's Controller
    mailbox = Mailbox()
    controller = _Controller(mailbox, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    mailbox.port = controller.port
    yield mailbox
    controller.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
