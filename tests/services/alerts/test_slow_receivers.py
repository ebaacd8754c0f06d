"""Receivers that send their answer byte by byte, for as long as they like."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from threading import Event, Thread

import pytest

from services.alerts.notify.http import HttpPoster
from tests.services.alerts.receivers import http_receiver

LOCAL = [ip_network("127.0.0.0/8")]


@contextmanager
def dripping(beginning: bytes) -> Iterator[str]:
    """A server that begins an answer and adds a byte each 50 ms, ten seconds long."""
    over = Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(beginning)
            for _ in range(200):
                if over.wait(0.05):
                    return
                connection.sendall(b"x")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        over.set()
        thread.join()


@pytest.mark.parametrize(
    ("beginning", "delivered"),
    [
        (b"", False),
        (b"HTTP/1.1 20", False),
        (b"HTTP/1.1 503 Busy\r\nX-Long: ", False),
        # It said that it took it: it is not told again.
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
    ],
)
def test_an_answer_that_never_ends_is_cut_off(beginning: bytes, *, delivered: bool) -> None:
    with dripping(beginning) as url:
        began = time.monotonic()
        answer = HttpPoster(LOCAL, whole_seconds=0.3).post(url, b"{}", {})
        assert time.monotonic() - began < 5
    assert (answer.delivered, answer.permanent) == (delivered, False)


def test_an_answer_in_time_is_read_to_its_end() -> None:
    with http_receiver() as receiver:
        answer = HttpPoster(LOCAL).post(receiver.url, b"{}", {})
    assert (answer.delivered, answer.text) == (True, "200 told 200")
