"""One HTTP request to a receiver: a checked address, bounded time, no redirects."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import urllib3
from urllib3.exceptions import HTTPError

from services.alerts.notify.answer import ANSWER_CHARACTERS, Answer, shown
from services.alerts.notify.guard import Endpoint, ForbiddenError, Network, UnresolvedError, resolve

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
LONGEST_RETRY_AFTER_SECONDS = 6 * 3600.0
_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.LOCKED}


@dataclass(frozen=True)
class HttpPoster:
    """Posts to URLs of receivers. `now` is in Unix seconds."""

    allowed: Sequence[Network]
    now: Callable[[], float] = field(default=time.time)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Post once. What the network or the receiver does wrong is an answer, not an error."""
        try:
            endpoint = resolve(url, self.allowed)
        except ForbiddenError as error:
            return Answer(delivered=False, text=f"the URL {error}", permanent=True)
        except UnresolvedError as error:
            return Answer(delivered=False, text=str(error))
        try:
            with _pool(endpoint) as pool:
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
                text = response.read(4 * ANSWER_CHARACTERS, decode_content=True)
                return self._answer(response.status, response.headers, text)
        except (HTTPError, OSError) as error:
            return Answer(delivered=False, text=shown(f"{type(error).__name__}: {error}"))

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes) -> Answer:
        text = shown(f"{status} {body.decode('utf-8', 'replace')}")
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
            seconds = parsedate_to_datetime(header).timestamp() - now
        except (ValueError, TypeError):
            return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)


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
