"""Channels to services: any replica, deadlines, retries, tokens. Needs nothing but grpcio."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from shared.deadlines import remaining_seconds
from shared.request_id import METADATA_KEY, current_request_id, new_request_id

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

DEFAULT_DEADLINE_SECONDS: Final = 30.0

# Calls are idempotent, so a lost answer may be asked for again. With these five attempts (gRPC allows no
# more) a call waits about 8 s for a replica that restarts: 0.2 + 0.6 + 1.8 + 5 s, each ± 20 %.
_SERVICE_CONFIG: Final = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
}

_OPTIONS: Final = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.max_receive_message_length", 64 << 20),
    # A request larger than this is sent once and never retried; the default is 256 KiB.
    ("grpc.per_rpc_retry_buffer_size", 16 << 20),
    # A replica that stands still, or a network that swallows, is found out in 17 s: early enough to ask
    # another within the deadline. Servers allow a ping every 10 s.
    ("grpc.keepalive_time_ms", 12_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Else gRPC waits a minute for pings of its own, and sends no other meanwhile.
    ("grpc.http2.ping_timeout_ms", 5_000),
    # A replica that comes back is found within a second, not within two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
)


def channel(
    address: str,
    token: str | None,
    *,
    ca_pem: bytes | None = None,
    credentials: grpc.ChannelCredentials | None = None,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
) -> grpc.Channel:
    """Return a channel to every replica behind `address`: host:port, a gRPC target or unix:/path.

    With `ca_pem` TLS against that authority, with `credentials` whatever they say, else without TLS.
    `deadline_seconds` holds for calls with one request and no timeout of their own, unless they are made on
    behalf of a call: then they end with it. Streams of requests have no deadline. Calls carry the token and
    the id of the request that this thread serves, or a new one.
    """
    if credentials is None and ca_pem is not None:
        credentials = grpc.ssl_channel_credentials(ca_pem)
    target = _target(address)
    if credentials is None:
        plain = grpc.insecure_channel(target, options=_OPTIONS)
    else:
        plain = grpc.secure_channel(target, credentials, options=_OPTIONS)
    return grpc.intercept_channel(plain, _Outgoing(token, deadline_seconds))


def open_channel(
    address: str, token_file: "Path | None", ca_file: "Path | None", opened: "ExitStack"
) -> grpc.Channel:
    """Return a `channel` with the token and the authority that lie in files; `opened` closes it."""
    found = channel(
        address,
        None if token_file is None else token_file.read_text().strip(),
        ca_pem=None if ca_file is None else ca_file.read_bytes(),
    )
    opened.callback(found.close)
    return found


def async_channel(address: str, *, ca_pem: bytes | None = None) -> grpc.aio.Channel:
    """Return a channel as `channel` does, for the event loop that runs.

    For callers that speak for many: each call brings its own token, request id and timeout.
    """
    if ca_pem is None:
        return grpc.aio.insecure_channel(_target(address), options=_OPTIONS)
    return grpc.aio.secure_channel(_target(address), grpc.ssl_channel_credentials(ca_pem), options=_OPTIONS)


def _target(address: str) -> str:
    return address if address.startswith("unix:") or "://" in address else f"dns:///{address}"


def _timeout(deadline_seconds: float | None) -> float | None:
    """Return how long to wait: as long as the caller of this thread's call does, where it sets an end."""
    remaining = remaining_seconds()
    return deadline_seconds if deadline_seconds is None or math.isinf(remaining) else remaining


@dataclass(frozen=True)
class _CallDetails(grpc.ClientCallDetails):
    """What gRPC asks an interceptor to hand on."""

    method: str
    timeout: float | None
    metadata: tuple[tuple[str, str | bytes], ...]
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: grpc.Compression | None


class _Outgoing(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    """Adds token, request id and deadline to every call."""

    def __init__(self, token: str | None, deadline_seconds: float) -> None:
        self._authorization = () if token is None else (("authorization", f"Bearer {token}"),)
        self._deadline_seconds = deadline_seconds

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: object
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add all three."""
        return continuation(self._details(client_call_details, self._deadline_seconds), request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: object
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add all three."""
        return continuation(self._details(client_call_details, self._deadline_seconds), request)

    def intercept_stream_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[object],
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add token and request id: how long the caller takes for its requests is its own affair."""
        return continuation(self._details(client_call_details, None), request_iterator)

    def intercept_stream_stream(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[object],
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add token and request id, as for any stream of requests."""
        return continuation(self._details(client_call_details, None), request_iterator)

    def _details(self, given: grpc.ClientCallDetails, deadline_seconds: float | None) -> _CallDetails:
        metadata = tuple(given.metadata or ())
        if not any(key == METADATA_KEY for key, _ in metadata):
            metadata += ((METADATA_KEY, current_request_id.get() or new_request_id()),)
        return _CallDetails(
            method=given.method,
            timeout=_timeout(deadline_seconds) if given.timeout is None else given.timeout,
            metadata=(*metadata, *self._authorization),
            credentials=given.credentials,
            wait_for_ready=given.wait_for_ready,
            compression=given.compression,
        )
