import atexit
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self, Unpack

from brain.events.v1.events_pb2 import (
    CountEventsRequest,
    EventCount,
    GetActiveUsersRequest,
    GetTopEventsRequest,
    TopEvent,
)
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from brain.metrics.v1.metrics_pb2_grpc import MetricSourceServiceStub

from brain_client import counting, questions
from brain_client.buffer import Buffer, Delivery
from brain_client.connection import Connection, connect
from brain_client.event import EventFields, make_event
from brain_client.sender import Counters, Drops, OnDrop
from shared.clients import Tls, channel

_LAST_WORDS_SECONDS = 1.0  # for the sender to notice that its channel is gone


@dataclass(frozen=True)
class Statistics:
    """Events since the client was made: tracked = accepted + duplicates + rejected + dropped + buffered."""

    tracked: int  # track() was called for them
    accepted: int  # stored
    duplicates: int  # had been stored before, by an attempt whose reply was lost
    rejected: int  # refused by the server, each for a reason
    dropped: int  # lost: no room, the server out of reach for too long, or the client closed
    buffered: int  # wait, or are being sent


class Brain:
    """A client of Analytics Brain: tracks in the background, asks in the foreground. Safe for threads.

    Nothing connects before the first call, so a client may be made before a process forks its workers. Once
    used, it belongs to its process: in a child forked later every call raises RuntimeError, because gRPC does
    not survive a fork.

        with Brain("127.0.0.1:50051", token) as brain:
            brain.track("signed_up", user_id="u-1", session_id="s-1")

    `address` is host:port, or several with commas between, a replica each. `token` is a bearer token; `tls`
    the certificates to trust and to show, without it there is no TLS.
    `on_drop(events, reason)` hears of every event that will not be stored, from the tracking or the sending
    thread; without it a warning is logged, at most one in ten seconds.
    """

    def __init__(
        self,
        address: str,
        token: str,
        *,
        tls: Tls | None = None,
        on_drop: OnDrop | None = None,
        delivery: Delivery | None = None,
    ) -> None:
        self._address = address
        self._token = token
        self._tls = tls
        self._delivery = delivery or Delivery()
        self._drops = Drops(on_drop)
        self._buffer = Buffer(self._delivery)
        self._connecting = threading.Lock()
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def events(self) -> EventsServiceStub:
        """The events service, with deadline, token and retries in place."""
        return self._connected().events

    @property
    def metrics(self) -> MetricSourceServiceStub:
        """The metrics of the events service, as series."""
        return self._connected().metrics

    def track(self, event: str, **fields: Unpack[EventFields]) -> None:
        """Take an event to be stored soon. Waits for room no longer than Delivery.block_seconds, then drops.

        Id and time are stamped here, so that retries store nothing twice; give both yourself where the same
        thing may be tracked twice. Raises ValueError or TypeError for what the server could only refuse.
        """
        made = make_event(event, **fields)
        if not self._buffer.closed:
            self._connected()
        if not self._buffer.put(made):
            reason = "the client is closed" if self._buffer.closed else "the buffer is full"
            self._drops.drop([made], reason)

    def flush(self, timeout: float = 10.0) -> bool:
        """Send what was tracked so far without delay; whether all of it was settled in time."""
        if self._connection is None:
            return True
        self._connected()
        return self._buffer.flush(timeout)

    def close(self, timeout: float | None = None) -> None:
        """Send the rest, for at most `timeout` (default: Delivery.exit_seconds); what is left is dropped.

        Called at the end of `with` and of the program. Closing again, or in a forked child, does nothing.
        """
        atexit.unregister(self.close)
        connection = self._connection
        if connection is not None and not connection.usable:
            return  # the buffer's lock may have been held when the process forked
        self._buffer.close()
        if connection is not None:
            self._finish(connection, self._delivery.exit_seconds if timeout is None else timeout)

    def _finish(self, connection: Connection, timeout: float) -> None:
        if not connection.sender.ends_within(timeout):
            connection.sender.give_up()
            if left := self._buffer.empty():
                self._drops.drop(left, "the client was closed before the server could be reached")
        connection.channel.close()  # breaks off the call in flight, if there still is one
        connection.sender.ends_within(_LAST_WORDS_SECONDS)

    def statistics(self) -> Statistics:
        """Count the events by what became of them."""
        counters = self._connection.sender.counters if self._connection else Counters()
        return Statistics(
            tracked=self._buffer.offered,
            accepted=counters.accepted,
            duplicates=counters.duplicates,
            rejected=counters.rejected,
            dropped=self._drops.dropped,
            buffered=self._buffer.held,
        )

    def active_users(self, period: str) -> int:
        """Count the people active in the "day", "week" (7 local days) or "month" (30) that ends today."""
        reply = self.events.GetActiveUsers(GetActiveUsersRequest(period=questions.period(period)))
        return reply.active_users[0].users

    def top_events(self, start: datetime, end: datetime, limit: int = 10) -> Sequence[TopEvent]:
        """List the most frequent events of [start, end), most frequent first."""
        request = GetTopEventsRequest(time_range=questions.time_range(start, end), limit=limit)
        return self.events.GetTopEvents(request).top_events

    def count_events(
        self,
        start: datetime,
        end: datetime,
        *,
        events: Sequence[str] = (),
        interval: str = "",
        by: str = "",
        limit: int = 100,
    ) -> Sequence[EventCount]:
        """Count the events of [start, end), all or those named: in total, by interval, by dimension, or both.

        `interval` is hour, day, week or month; `by` is event, category, user or property:NAME, of which the
        `limit` most frequent groups come, read page by page.
        """
        group, name = questions.count_group(by)
        request = CountEventsRequest(
            events=events,
            time_range=questions.time_range(start, end),
            interval=questions.interval(interval),
            group_by=group,
            group_property=name,
        )
        return counting.count(self.events, request, limit)[0]

    def _connected(self) -> Connection:
        if self._connection is None:
            with self._connecting:
                if self._connection is None:
                    self._connection = self._connect()
        if not self._connection.usable:
            raise RuntimeError(
                "this client was used before the process forked; first use it, or make it, after forking"
            )
        return self._connection

    def _connect(self) -> Connection:
        made = connect(
            channel(self._address, self._token, tls=self._tls),
            self._buffer,
            self._drops,
            self._delivery,
        )
        atexit.register(self.close)
        return made
