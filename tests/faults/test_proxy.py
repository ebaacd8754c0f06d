"""The proxy does what it is told: bytes are late, few, held up, cut off."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING

import grpc
import pytest

from tests.faults.proxy import Fault, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

HELLO = b"hello"
SECONDS = 10.0


@contextmanager
def echoing(address: str) -> Iterator[str]:
    """An upstream that returns what it gets, and ends when its client does."""
    family = socket.AF_UNIX if address.startswith("unix:") else socket.AF_INET
    with socket.socket(family) as listening:
        listening.bind(address.removeprefix("unix:") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(SECONDS)
        port = "" if family == socket.AF_UNIX else listening.getsockname()[1]
        thread = Thread(target=_echo_one, args=(listening,), daemon=True)
        thread.start()
        yield address or f"127.0.0.1:{port}"
    thread.join(SECONDS)


def _echo_one(listening: socket.socket) -> None:
    try:
        accepted, _ = listening.accept()
    except OSError:
        return
    with accepted:
        accepted.settimeout(SECONDS)
        try:
            while data := accepted.recv(65_536):
                accepted.sendall(data)
        except OSError:
            return


@contextmanager
def through(proxy: Proxy) -> Iterator[socket.socket]:
    if proxy.address.startswith("unix:"):
        client = socket.socket(socket.AF_UNIX)
        client.connect(proxy.address.removeprefix("unix:"))
    else:
        host, _, port = proxy.address.rpartition(":")
        client = socket.create_connection((host, int(port)))
    client.settimeout(SECONDS)
    with client:
        yield client


def receive(client: socket.socket, size: int) -> bytes:
    got = b""
    while len(got) < size and (data := client.recv(size - len(got))):
        got += data
    return got


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with echoing("") as upstream, Proxy(upstream) as made:
        yield made


def test_a_healthy_network_passes_everything_on(proxy: Proxy) -> None:
    sent = bytes(range(256)) * 4_000
    with through(proxy) as client:
        Thread(target=client.sendall, args=(sent,)).start()
        assert receive(client, len(sent)) == sent
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""


def test_unix_sockets_are_networks_too(tmp_path: Path) -> None:
    with (
        echoing(f"unix:{tmp_path}/up") as upstream,
        Proxy(upstream, listen=f"unix:{tmp_path}/proxy") as proxy,
        through(proxy) as client,
    ):
        client.sendall(HELLO)
        assert receive(client, len(HELLO)) == HELLO


def test_latency_counts_in_each_direction(proxy: Proxy) -> None:
    proxy.fault = Fault(latency_seconds=0.1)
    with through(proxy) as client:
        started = monotonic()
        client.sendall(HELLO)
        assert receive(client, len(HELLO)) == HELLO
        assert 0.2 <= monotonic() - started < 2


def test_bandwidth_makes_bytes_wait(proxy: Proxy) -> None:
    proxy.fault = Fault(bytes_per_second=50_000)
    sent = bytes(20_000)
    with through(proxy) as client:
        started = monotonic()
        client.sendall(sent)
        assert receive(client, len(sent)) == sent
        assert 0.4 <= monotonic() - started < 4


def test_a_black_hole_holds_everything_until_it_is_gone(proxy: Proxy) -> None:
    with through(proxy) as client:
        proxy.fault = Fault(is_black_hole=True)
        client.sendall(HELLO)
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.fault = Fault()
        client.settimeout(SECONDS)
        assert receive(client, len(HELLO)) == HELLO


def test_a_reset_is_a_reset(proxy: Proxy) -> None:
    with through(proxy) as client:
        client.sendall(HELLO)
        assert receive(client, len(HELLO)) == HELLO
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert proxy.connections == 0


def test_replies_end_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.fault = Fault(reply_bytes=3)
    with through(proxy) as client:
        client.sendall(HELLO)
        with pytest.raises(ConnectionResetError):  # which may overtake what was sent before it
            receive(client, 4)
    assert proxy.replies_cut == 1


def test_nobody_upstream_is_a_reset(tmp_path: Path) -> None:
    with (
        Proxy(f"unix:{tmp_path}/nobody") as proxy,
        through(proxy) as client,
        pytest.raises(ConnectionResetError),
    ):
        client.recv(1)


class Counting(grpc.GenericRpcHandler):
    """Any method returns its request; counts what was done."""

    def __init__(self) -> None:
        self.done = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes]":
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, request: bytes, _context: grpc.ServicerContext) -> bytes:
        self.done += 1
        return request


def test_replies_are_cut_after_the_work_is_done(tmp_path: Path) -> None:
    handler = Counting()
    with grpc_server(f"unix:{tmp_path}/up", handler) as upstream, Proxy(upstream, seed=1) as proxy:
        proxy.fault = Fault(cut_reply_ratio=0.5)
        with grpc.insecure_channel(proxy.address, options=[("grpc.enable_retries", 0)]) as channel:
            call: Callable[..., bytes] = channel.unary_unary("/any/Method")
            answered = sum(_is_answered(call) for _ in range(60))
    assert handler.done == answered + proxy.replies_cut
    assert 10 < proxy.replies_cut < 50


def _is_answered(call: "Callable[..., bytes]") -> bool:
    try:
        return call(HELLO, wait_for_ready=True, timeout=SECONDS) == HELLO
    except grpc.RpcError:
        return False


@contextmanager
def grpc_server(address: str, handler: grpc.GenericRpcHandler) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(address)
    server.start()
    yield address
    server.stop(None).wait()
