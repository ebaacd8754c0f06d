"""The services behind the gateway, as its handlers ask them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc.aio
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.clients import async_channel
from shared.request_id import METADATA_KEY, current_request_id

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceAsyncStub
    from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceAsyncStub

    from gateway.config import GatewaySettings

_HEALTH_SECONDS = 1.0

Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True)
class Services:
    """Stubs of the event loop that runs. Every call carries the token of whoever asks."""

    channel: grpc.aio.Channel
    events: "EventsServiceAsyncStub"
    metrics: "MetricSourceServiceAsyncStub"
    call_seconds: float

    async def ask(self, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q, token: str) -> A:
        """Return the answer; raise grpc.aio.AioRpcError. An empty token is not sent."""
        metadata = [(METADATA_KEY, current_request_id.get())]
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        return await call(request, timeout=self.call_seconds, metadata=tuple(metadata))

    async def are_serving(self) -> bool:
        """Return whether the events service can do its work."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        try:
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)  # type: ignore[attr-defined]  # stubs lack it
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Let go of the connections; calls under way are cancelled."""
        await self.channel.close()


def connect(settings: "GatewaySettings") -> Services:
    """Return the services that the settings name, for the event loop that runs."""
    ca_pem = settings.events_ca_file.read_bytes() if settings.events_ca_file else None
    channel = async_channel(settings.events_address, ca_pem=ca_pem)
    return Services(
        channel, EventsServiceStub(channel), MetricSourceServiceStub(channel), settings.call_seconds
    )
