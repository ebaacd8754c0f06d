"""A proxy that does to connections what networks do, before a service or between it and PostgreSQL.

Addresses are written as gRPC writes them, host:port or unix:/path.
"""

import asyncio
import math
import socket
import struct
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from threading import Thread
from typing import Any, Self, TypeVar

from tests.faults.http2_replies import Replies

PIECE_BYTES = 16_384
QUEUED_PIECES = 256  # on their way in one direction of a connection
PAUSE_SECONDS = 0.01
NO_LINGER = struct.pack("ii", 1, 0)  # closing then sends RST

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """What a network does to the bytes that pass from now on."""

    latency_seconds: float = 0.0  # in each direction
    bytes_per_second: float = math.inf  # in each direction, of all connections together
    is_black_hole: bool = False  # connections open, and nothing arrives before the fault is over
    reply_bytes: int | None = None  # so many from the upstream, then the connection is reset
    cut_reply_ratio: float = 0.0  # of replies to unary gRPC calls: reset in place of a part of the reply


HEALTHY = Fault()


class Proxy:
    """Listens while it is entered. `fault` may be changed at any time, from any thread."""

    def __init__(self, upstream: str, *, listen: str = "127.0.0.1:0", seed: int = 0) -> None:
        self.upstream = upstream
        self.address = listen
        self.fault = HEALTHY
        self.replies_cut = 0
        self._random = Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._lanes = (_Lane(self), _Lane(self))

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def connections(self) -> int:
        """How many pass through now."""
        return len(self._links)

    def reset(self) -> int:
        """Reset every connection; return how many there were."""
        return self._do(self._reset())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    async def _listen(self) -> None:
        if self.address.startswith("unix:"):
            path = self.address.removeprefix("unix:")
            self._server = await asyncio.start_unix_server(self._serve, path)
            return
        host, _, port = self.address.rpartition(":")
        self._server = await asyncio.start_server(self._serve, host, int(port))
        self.address = f"{host}:{self._server.sockets[0].getsockname()[1]}"

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._reset()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _reset(self) -> int:
        links = list(self._links)
        for link in links:
            link.reset()
        await asyncio.gather(*(link.task for link in links), return_exceptions=True)
        return len(links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await self._connect()
        except OSError:
            _abort(writer)
            return
        task = asyncio.current_task()
        assert task is not None
        link = _Link(writer, upstream_writer, task)
        self._links.add(link)
        requests, replies = self._lanes
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(requests.carry(reader, upstream_writer, None))
                group.create_task(replies.carry(upstream_reader, writer, Replies(self._random)))
        except* OSError:
            link.abort()
        except* _CutError:
            self.replies_cut += 1
            link.abort()
        except* asyncio.CancelledError:
            link.abort()
        finally:
            self._links.discard(link)
            writer.close()
            upstream_writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.upstream.startswith("unix:"):
            return await asyncio.open_unix_connection(self.upstream.removeprefix("unix:"))
        host, _, port = self.upstream.rpartition(":")
        return await asyncio.open_connection(host, int(port))


class _CutError(Exception):
    """Here the connection is to end."""


@dataclass(frozen=True, eq=False)
class _Link:
    """One connection and its upstream."""

    writer: asyncio.StreamWriter
    upstream: asyncio.StreamWriter
    task: "asyncio.Task[None]"

    def reset(self) -> None:
        self.abort()
        self.task.cancel()

    def abort(self) -> None:
        _abort(self.writer)
        _abort(self.upstream)


class _Lane:
    """One direction of all connections: they share its bandwidth."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self._free_time = 0.0

    async def carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, replies: Replies | None
    ) -> None:
        """Carry bytes until their end, which is passed on too."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(QUEUED_PIECES)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send(queue, writer, replies))
            data = b"more"
            while data:
                data = await reader.read(PIECE_BYTES)
                await queue.put((loop.time() + self._proxy.fault.latency_seconds, data))

    async def _send(
        self,
        queue: "asyncio.Queue[tuple[float, bytes]]",
        writer: asyncio.StreamWriter,
        replies: Replies | None,
    ) -> None:
        while True:
            due, data = await queue.get()
            await self._wait_until(due)
            if not data:
                with suppress(OSError, RuntimeError):  # the other side may be gone altogether
                    writer.write_eof()
                return
            fault = self._proxy.fault
            kept = None if replies is None else replies.cut(data, fault.cut_reply_ratio, fault.reply_bytes)
            await self._write(writer, data if kept is None else data[:kept])
            if kept is not None:
                raise _CutError

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Write at the lane's pace, in pieces of a twentieth of a second."""
        while data:
            rate = self._proxy.fault.bytes_per_second
            size = len(data) if math.isinf(rate) else max(1, int(rate / 20))
            piece, data = data[:size], data[size:]
            now = asyncio.get_running_loop().time()
            self._free_time = max(now, self._free_time) + len(piece) / rate
            await self._wait_until(self._free_time)
            writer.write(piece)
            await writer.drain()

    async def _wait_until(self, due: float) -> None:
        now = asyncio.get_running_loop().time()
        if due > now:
            await asyncio.sleep(due - now)
        while self._proxy.fault.is_black_hole:  # noqa: ASYNC110 - other threads set the fault
            await asyncio.sleep(PAUSE_SECONDS)


def _abort(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.family == socket.AF_INET:
        with suppress(OSError):  # closed already
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    transport = writer.transport
    transport.abort()
