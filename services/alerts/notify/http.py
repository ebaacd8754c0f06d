"""One HTTP request to a receiver: a checked address, bounded time, no redirects."""

import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Timer
from typing import Any
from urllib.parse import unquote

import urllib3
from urllib3.exceptions import HTTPError

from services.alerts.notify.answer import ANSWER_CHARACTERS, Answer, shown
from services.alerts.notify.guard import Endpoint, ForbiddenError, Network, UnresolvedError, resolve

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
# From the connection to the end of the answer: a receiver that sends byte by byte keeps within READ_SECONDS.
WHOLE_SECONDS = 15.0
LONGEST_RETRY_AFTER_SECONDS = 6 * 3600.0
# Shorter words of a URL stand in answers for other reasons.
_SECRET_CHARACTERS = 8
_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.LOCKED}


@dataclass(frozen=True)
class HttpPoster:
    """Posts to URLs of receivers. `now` is in Unix seconds."""

    allowed: Sequence[Network]
    now: Callable[[], float] = field(default=time.time)
    whole_seconds: float = WHOLE_SECONDS

    def post(self, url: str, body: bytes, headers: Mapping[str, str], secrets: Sequence[str] = ()) -> Answer:
        """Post once. What the network or the receiver does wrong is an answer, not an error.

        Answers are without `secrets`, and without the URL's path and query: who knows them may post there.
        """
        try:
            endpoint = resolve(url, self.allowed)
        except ForbiddenError as error:
            return Answer(delivered=False, text=f"the URL {error}", permanent=True)
        except UnresolvedError as error:
            return Answer(delivered=False, text=str(error))
        hidden = (*secrets, *_parts(endpoint.target))
        try:
            with _pool(endpoint) as pool, _cut_off_after(self.whole_seconds, pool):
                response = pool.urlopen(
                    "POST",
                    endpoint.target,
                    body=body,
                    headers={"Host": endpoint.authority, "User-Agent": "analytics-brain", **headers},
                    redirect=False,
                    retries=False,
                    preload_content=False,
                    assert_same_host=False,
                )
                text = shown(f"{response.status} {_beginning(response).decode('utf-8', 'replace')}", hidden)
                return self._answer(response.status, response.headers, text)
        except (HTTPError, OSError) as error:
            return Answer(delivered=False, text=shown(f"{type(error).__name__}: {error}", hidden))

    def _answer(self, status: int, headers: Mapping[str, str], text: str) -> Answer:
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return Answer(delivered=True, text=text)
        refused = status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in _RETRIED
        return Answer(
            delivered=False,
            text=text,
            permanent=refused,
            retry_after_seconds=retry_after(headers.get("Retry-After"), self.now()),
        )


def retry_after(header: str | None, now: float) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, 10.2.3), six hours at most; None if unclear."""
    if header is None:
        return None
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            told = parsedate_to_datetime(header)
            # asctime's form names no zone, and means UTC too.
            seconds = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - now
        except (ValueError, TypeError):
            return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)


def _parts(target: str) -> Iterator[str]:
    """Yield what of a path and query may be secret, as it is sent and as receivers read it."""
    yield target
    for part in re.split("[/?&=]", target):
        if len(part) >= _SECRET_CHARACTERS:
            yield part
            yield unquote(part)


def _beginning(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the beginning of a body, none where it cannot be read: the status says what matters."""
    try:
        return response.read(4 * ANSWER_CHARACTERS, decode_content=True)
    except (HTTPError, OSError):
        return b""


@contextmanager
def _cut_off_after(seconds: float, pool: urllib3.HTTPConnectionPool) -> Iterator[None]:
    """Shut the connections of a pool down once so many seconds are over."""
    opened: list[socket.socket] = []
    kind = pool.ConnectionCls

    def made(*arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - whatever the pool gives
        connection: Any = kind(*arguments, **options)
        connect = connection.connect

        def remember() -> None:
            connect()
            opened.append(connection.sock)  # it forgets its socket before the body is read

        connection.connect = remember  # of this one alone
        return connection

    def cut_off() -> None:
        for each in opened:
            with suppress(OSError):
                # Not TLS's own, which lets go of what another thread is reading by.
                socket.socket.shutdown(each, socket.SHUT_RDWR)

    pool.ConnectionCls = made  # type: ignore[assignment]  # called, and nothing else
    timer = Timer(seconds, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _pool(endpoint: Endpoint) -> urllib3.HTTPConnectionPool:
    """Return a connection to the address that was checked; TLS asks for the name it was looked up by."""
    timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
    if endpoint.scheme == "http":
        return urllib3.HTTPConnectionPool(endpoint.ip, endpoint.port, timeout=timeout)
    return urllib3.HTTPSConnectionPool(
        endpoint.ip,
        endpoint.port,
        timeout=timeout,
        server_hostname=endpoint.host,
        assert_hostname=endpoint.host,
    )
