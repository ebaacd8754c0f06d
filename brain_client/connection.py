"""What a process needs to track and ask: the channel, the stubs, the buffer and its sender."""

import os
from dataclasses import dataclass

import grpc
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub

from brain_client.buffer import Buffer, Delivery
from brain_client.sender import Drops, Sender


@dataclass(frozen=True)
class Connection:
    """Belongs to the process that made it: neither gRPC nor threads survive a fork."""

    channel: grpc.Channel
    events: EventsServiceStub
    metrics: MetricSourceServiceStub
    sender: Sender
    process: int

    @property
    def usable(self) -> bool:
        """Whether this is still the process that made it."""
        return self.process == os.getpid()


def connect(channel: grpc.Channel, buffer: Buffer, drops: Drops, delivery: Delivery) -> Connection:
    """Make the stubs and start to send what is put into the buffer."""
    events = EventsServiceStub(channel)
    sender = Sender(events, buffer, drops, delivery)
    sender.start()
    return Connection(channel, events, MetricSourceServiceStub(channel), sender, os.getpid())
