"""The services behind the gateway, as its handlers ask them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Never, TypeVar, cast

import grpc.aio
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub
from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.clients import async_channel
from shared.request_id import METADATA_KEY, current_request_id

if TYPE_CHECKING:
    from brain.events.v1.events_pb2_grpc import EventsServiceAsyncStub
    from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceAsyncStub
    from google.protobuf.message import Message

    from gateway.config import GatewaySettings
    from shared.spans import Tracer

_HEALTH_SECONDS = 1.0

Q = TypeVar("Q")
A = TypeVar("A")
S = TypeVar("S")


class NotConnectedError(Exception):
    """A service was asked that no setting names an address of."""

    def __init__(self, service: str) -> None:
        super().__init__(
            f"the {service} service is not connected here: set GATEWAY_{service.upper()}_ADDRESS"
        )


@dataclass(frozen=True)
class Services:
    """The channels to the services by name, for the event loop that runs.

    Every call carries the token of whoever asks. A service without an address can be had like any other: who
    calls it meets NotConnectedError.
    """

    channels: Mapping[str, grpc.aio.Channel]
    call_seconds: float
    _made: "dict[object, Any]" = field(default_factory=dict)

    def stub(self, service: str, make: "Callable[[grpc.aio.Channel], S]") -> S:
        """Return the stub of a service, made once of its class."""
        found: S | None = self._made.get((service, make))
        if found is None:
            found = self._made[service, make] = make(self.channels[service])
        return found

    @property
    def events(self) -> "EventsServiceAsyncStub":
        """The stub of the events service."""
        return self.stub("events", EventsServiceStub)

    @property
    def metrics(self) -> "MetricSourceServiceAsyncStub":
        """The stub of the events service's metrics."""
        return self.stub("events", MetricSourceServiceStub)

    def call(self, rpc: str) -> "grpc.aio.UnaryUnaryMultiCallable[Message, Message]":
        """Return a call by its full name with dots, made once; brain.<service>.v1 tells whose it is."""
        found: grpc.aio.UnaryUnaryMultiCallable[Message, Message] | None = self._made.get(rpc)
        if found is None:
            method = descriptor_pool.Default().FindMethodByName(rpc)
            contract, _, name = rpc.rpartition(".")
            found = self._made[rpc] = self.channels[rpc.split(".")[1]].unary_unary(
                f"/{contract}/{name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
        return found

    async def ask(self, call: "grpc.aio.UnaryUnaryMultiCallable[Q, A]", request: Q, token: str) -> A:
        """Return the answer; raise grpc.aio.AioRpcError or NotConnectedError. An empty token is not sent."""
        metadata = [(METADATA_KEY, current_request_id.get())]
        if token:
            metadata.append(("authorization", f"Bearer {token}"))
        return await call(request, timeout=self.call_seconds, metadata=tuple(metadata))

    async def are_serving(self) -> bool:
        """Return whether the events service can do its work; without the others their parts alone fail."""
        stub = health_pb2_grpc.HealthStub(self.channels["events"])
        try:
            reply = await stub.Check(health_pb2.HealthCheckRequest(), timeout=_HEALTH_SECONDS)  # type: ignore[attr-defined]  # stubs lack it
        except grpc.aio.AioRpcError:
            return False
        return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)

    async def close(self) -> None:
        """Let go of the connections; calls under way are cancelled."""
        for channel in self.channels.values():
            await channel.close()


class _NotConnected:
    """Stands where a channel would: stubs can be made of it, and say whose address is missing when called."""

    def __init__(self, service: str) -> None:
        self._service = service

    def _no_call(self, *_: object, **__: object) -> "Callable[..., Never]":
        def call(*_: object, **__: object) -> Never:
            raise NotConnectedError(self._service)

        return call

    unary_unary = unary_stream = stream_unary = stream_stream = _no_call

    async def close(self) -> None:
        """Nothing is open."""


def connect(settings: "GatewaySettings", tracer: "Tracer | None" = None) -> Services:
    """Return the services that the settings name, for the event loop that runs."""
    channels = {}
    for service, (address, tls) in settings.services.items():
        if address:
            traced = [] if tracer is None else [tracer.of_async_calls(address)]
            opened = async_channel(address, tls=tls, interceptors=traced)
            opened.get_state(try_to_connect=True)  # now, not while the first visitor waits
            channels[service] = opened
        else:
            channels[service] = cast("grpc.aio.Channel", _NotConnected(service))
    return Services(channels, settings.call_seconds)
