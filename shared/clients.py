"""Channels to services: any replica, deadlines, retries, tokens. Needs nothing but grpcio."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from shared.deadlines import remaining_seconds
from shared.request_id import METADATA_KEY, current_request_id, new_request_id
from shared.tracing import call_span, callers_context

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from shared.spans import Span

DEFAULT_DEADLINE_SECONDS: Final = 30.0

# Calls are idempotent, so a lost answer may be asked for again. With these five attempts (gRPC allows no
# more) a call waits about 8 s for a replica that restarts: 0.2 + 0.6 + 1.8 + 5 s, each ± 20 %. CANCELLED is
# what gRPC's servers answer to calls that arrive between their word that they stop and its arrival here; what
# is cancelled on this side is never sent again.
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
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
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


@dataclass(frozen=True, slots=True)
class Tls:
    """What a client trusts, and what it shows of itself to servers that ask for certificates. All PEM."""

    ca_pem: bytes
    certificate_pem: bytes | None = None
    key_pem: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.certificate_pem is None) != (self.key_pem is None):
            raise ValueError("a certificate and its key need each other")

    @property
    def credentials(self) -> grpc.ChannelCredentials:
        """Return what gRPC asks for."""
        return grpc.ssl_channel_credentials(self.ca_pem, self.key_pem, self.certificate_pem)


def read_tls(ca: "Path | None", certificate: "Path | None" = None, key: "Path | None" = None) -> Tls | None:
    """Return what lies in files, None (no TLS) without an authority."""
    if ca is None:
        return None
    return Tls(
        ca.read_bytes(),
        None if certificate is None else certificate.read_bytes(),
        None if key is None else key.read_bytes(),
    )


def channel(
    address: str,
    token: str | None,
    *,
    tls: Tls | None = None,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
) -> grpc.Channel:
    """Return a channel to every replica behind `address`.

    That is host:port, several of them with commas between, a gRPC target or unix:/path; ValueError is raised
    for lists with names in them, or with both IPv4 and IPv6 addresses.

    `deadline_seconds` holds for calls with one request and no timeout of their own, unless they are made on
    behalf of a call: then they end with it. Streams of requests have no deadline. Calls carry the token and
    the id of the request that this thread serves, or a new one; and the trace that this thread is in, if any.
    """
    target, options = _target(address)
    if tls is None:
        plain = grpc.insecure_channel(target, options=options)
    else:
        plain = grpc.secure_channel(target, tls.credentials, options=options)
    return grpc.intercept_channel(plain, _Outgoing(address, token, deadline_seconds))


def open_channel(
    address: str, token_file: "Path | None", tls: Tls | None, opened: "ExitStack"
) -> grpc.Channel:
    """Return a `channel` with the token that lies in a file; `opened` closes it."""
    found = channel(address, None if token_file is None else token_file.read_text().strip(), tls=tls)
    opened.callback(found.close)
    return found


def async_channel(
    address: str, *, tls: Tls | None = None, interceptors: Sequence[grpc.aio.ClientInterceptor] = ()
) -> grpc.aio.Channel:
    """Return a channel as `channel` does, for the event loop that runs.

    For callers that speak for many: each call brings its own token, request id and timeout.
    """
    target, options = _target(address)
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options, interceptors=interceptors)
    return grpc.aio.secure_channel(target, tls.credentials, options=options, interceptors=interceptors)


def _target(address: str) -> tuple[str, tuple[tuple[str, str | int], ...]]:
    """Return what gRPC calls an address, and the options of a channel to it."""
    if "," in address:
        first = address.partition(",")[0]
        # Otherwise the whole list is the name that certificates must show.
        return _list_target(address.split(",")), (*_OPTIONS, ("grpc.default_authority", first))
    return (address if address.startswith("unix:") or "://" in address else f"dns:///{address}"), _OPTIONS


def _list_target(addresses: list[str]) -> str:
    try:
        versions = {ip_address(each.rpartition(":")[0].strip("[]")).version for each in addresses}
        [version] = versions
    except ValueError as error:
        raise ValueError(
            f"{','.join(addresses)}: several addresses must be all of IPv4 or all of IPv6, with ports; "
            "for a name that stands for several, host:port is enough"
        ) from error
    return f"ipv{version}:{','.join(addresses)}"


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
    """Adds token, request id, trace and deadline to every call."""

    def __init__(self, address: str, token: str | None, deadline_seconds: float) -> None:
        self._address = address
        self._authorization = () if token is None else (("authorization", f"Bearer {token}"),)
        self._deadline_seconds = deadline_seconds

    def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: object
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add all four."""
        return self._call(continuation, client_call_details, self._deadline_seconds, request)

    def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.ClientCallDetails, request: object
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add all four."""
        return self._call(continuation, client_call_details, self._deadline_seconds, request)

    def intercept_stream_unary(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[object],
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add all but a deadline: how long the caller takes for its requests is its own affair."""
        return self._call(continuation, client_call_details, None, request_iterator)

    def intercept_stream_stream(
        self,
        continuation: Callable[..., Any],
        client_call_details: grpc.ClientCallDetails,
        request_iterator: Iterator[object],
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        """Add all but a deadline, as for any stream of requests."""
        return self._call(continuation, client_call_details, None, request_iterator)

    def _call(
        self,
        continuation: Callable[..., Any],
        given: grpc.ClientCallDetails,
        deadline_seconds: float | None,
        sent: object,
    ) -> Any:  # noqa: ANN401 - whatever gRPC returns
        span = call_span(given.method, self._address)
        trace = callers_context() if span is None else span.headers
        call = continuation(self._details(given, deadline_seconds, trace), sent)
        if span is not None:
            call.add_done_callback(partial(_end, span))
        return call

    def _details(
        self,
        given: grpc.ClientCallDetails,
        deadline_seconds: float | None,
        trace: tuple[tuple[str, str], ...],
    ) -> _CallDetails:
        metadata = tuple(given.metadata or ())
        if not any(key == METADATA_KEY for key, _ in metadata):
            metadata += ((METADATA_KEY, current_request_id.get() or new_request_id()),)
        return _CallDetails(
            method=given.method,
            timeout=_timeout(deadline_seconds) if given.timeout is None else given.timeout,
            metadata=(*metadata, *trace, *self._authorization),
            credentials=given.credentials,
            wait_for_ready=given.wait_for_ready,
            compression=given.compression,
        )


def _end(span: "Span", call: grpc.Call) -> None:
    span.end_asked(call.code())
