"""Receivers that send their answer byte by byte, for as long as they like."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_network
from threading import Event, Thread

import pytest

from services.alerts.notice import Notice
from services.alerts.notify.email import Email, Smtp
from services.alerts.notify.http import HttpPoster, retry_after
from tests.services.alerts.receivers import http_receiver

LOCAL = [ip_network("127.0.0.0/8")]


@contextmanager
def dripping(beginning: bytes, *, is_asked: bool = True) -> Iterator[str]:
    """A server that begins an answer, once it is asked, and adds a byte each 50 ms, ten seconds long."""
    over = Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection, suppress(OSError):
            if is_asked:
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


@pytest.mark.parametrize("tls", ["off", "starttls", "implicit"])
@pytest.mark.parametrize("beginning", [b"", b"220 here\r\n", b"220 here\r\n250-here\r\n250-"])
def test_a_mail_server_that_never_comes_to_an_end_is_cut_off(
    notice: Notice, beginning: bytes, tls: str
) -> None:
    with dripping(beginning, is_asked=False) as url:
        host, _, port = url.strip("/").rpartition("//")[2].partition(":")
        server = Smtp(host, int(port), tls, None, None, "brain@example.com")
        began = time.monotonic()
        answer = Email(server, whole_seconds=0.3).send(notice, "ann@example.com", 1)
        assert time.monotonic() - began < 5
    assert (answer.delivered, answer.permanent) == (False, False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 77.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 77.0),
        ("Sun Nov  6 08:49:37 1994", 77.0),
        ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0),
        ("9" * 400, 6 * 3600.0),
        ("-5", None),
        ("soon", None),
    ],
)
def test_every_form_of_retry_after_is_read(header: str, seconds: float | None) -> None:
    # The three forms of one instant of RFC 9110, 5.6.7: 784,111,777 s.
    assert retry_after(header, 784_111_700.0) == seconds


def test_a_date_without_a_zone_is_utc_wherever_this_runs() -> None:
    asked = """
from services.alerts.notify.http import retry_after
print(retry_after("Sun Nov  6 08:49:37 1994", 784_111_700.0))
"""
    run = subprocess.run(  # in a process of its own: the zone is the process's
        [sys.executable, "-c", asked],
        env=os.environ | {"TZ": "Asia/Tokyo", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "77.0\n"


def test_an_answer_in_time_is_read_to_its_end() -> None:
    with http_receiver() as receiver:
        answer = HttpPoster(LOCAL).post(receiver.url, b"{}", {})
    assert (answer.delivered, answer.text) == (True, "200 told 200")
