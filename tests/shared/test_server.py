"""A server from start to stop."""

import faulthandler
import logging
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from brain.events.v1.events_pb2 import TrackEventsRequest, TrackEventsResponse
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from prometheus_client import CollectorRegistry

from shared import clients, server
from shared.auth import Role
from shared.config import ServiceSettings
from tests.shared.conftest import Served, Start, minimal_settings
from tests.shared.sample_service import SERVICE, Sample, SampleStub, eventually

ONE = TrackEventsRequest()
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING


class Gate:
    """A handler that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.open = threading.Event()

    def ask(self, _request: object, _context: object) -> TrackEventsResponse:
        self.entered.set()
        assert self.open.wait(10)
        return TrackEventsResponse(accepted=7)


def ask_health(channel: grpc.Channel, name: str = "") -> int:
    coders = (health_pb2.HealthCheckRequest.SerializeToString, health_pb2.HealthCheckResponse.FromString)
    check = channel.unary_unary("/grpc.health.v1.Health/Check", *coders)
    return check(health_pb2.HealthCheckRequest(service=name), timeout=5).status


def check(served: Served, name: str = "") -> int:
    return ask_health(served.channel(None), name)


def watch(served: Served) -> Iterator[health_pb2.HealthCheckResponse]:
    coders = (health_pb2.HealthCheckRequest.SerializeToString, health_pb2.HealthCheckResponse.FromString)
    method = served.channel(None).unary_stream("/grpc.health.v1.Health/Watch", *coders)
    return iter(method(health_pb2.HealthCheckRequest()))


def test_stopping_lets_a_running_call_finish(start: Start) -> None:
    gate = Gate()
    served = start(Sample(ask=gate.ask), drain_seconds=10)
    call = served.stub().ask.future(ONE)
    assert gate.entered.wait(5)
    with ThreadPoolExecutor(1) as stopping:
        stopped = stopping.submit(served.running.stop)
        assert eventually(lambda: refuses(served))
        gate.open.set()
        assert call.result(5).accepted == 7
        stopped.result(5)


def refuses(served: Served) -> bool:
    with grpc.insecure_channel(served.address) as fresh:
        try:
            ask_health(fresh)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAVAILABLE
    return False


def test_a_call_that_outlasts_the_drain_is_ended(start: Start) -> None:
    gate = Gate()
    served = start(Sample(ask=gate.ask), drain_seconds=0)
    options = (("grpc.enable_retries", 0),)
    with grpc.insecure_channel(served.address, options) as once, ThreadPoolExecutor(1) as stopping:
        token = f"Bearer {served.token(Role.ANALYST)}"
        call = SampleStub(once).ask.future(ONE, metadata=(("authorization", token),))
        assert gate.entered.wait(5)
        stopped = stopping.submit(served.running.stop)
        assert call.exception(5) is not None
        gate.open.set()
        stopped.result(5)


def test_stopping_leaves_no_thread(start: Start) -> None:
    before = set(threading.enumerate())
    served = start()
    served.stub().ask(ONE)
    served.running.stop()
    served.close()
    left = {t.name for t in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith(("call", "health", "metrics"))]


@pytest.mark.parametrize("to", ["the process", "another thread"])
def test_sigterm_stops_a_waiting_server(start: Start, to: str) -> None:
    """The kernel chooses another thread where the main one has a signal waiting already."""
    served = start()
    before = signal.getsignal(signal.SIGTERM)

    def send() -> None:
        assert eventually(lambda: signal.getsignal(signal.SIGTERM) is not before)
        if to == "the process":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    sender = threading.Thread(target=send)
    sender.start()
    rescue = threading.Timer(10, os.kill, (os.getpid(), signal.SIGTERM))
    rescue.start()
    served.running.wait()
    assert rescue.is_alive(), "nobody noticed"
    rescue.cancel()
    faulthandler.cancel_dump_traceback_later()  # the program goes on
    sender.join()
    assert signal.getsignal(signal.SIGTERM) is before
    assert refuses(served)


def test_health_follows_readiness_both_ways(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "shared.health")
    ready = threading.Event()
    served = start(ready=ready.is_set)
    assert check(served) == check(served, SERVICE) == NOT_SERVING
    ready.set()
    assert eventually(lambda: check(served) == SERVING)
    ready.clear()
    assert eventually(lambda: check(served, SERVICE) == NOT_SERVING)
    told = [vars(record)["serving"] for record in caplog.records if record.message == "health changed"]
    assert told == [False, True, False], "transitions are logged, states are not"


def test_a_readiness_that_raises_means_not_serving(start: Start) -> None:
    def ready() -> bool:
        raise OSError("no route")

    assert check(start(ready=ready)) == NOT_SERVING


def test_a_readiness_that_hangs_means_not_serving_until_it_answers(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.health._OVERDUE_SECONDS", 0.1)
    free = threading.Event()
    free.set()
    served = start(ready=lambda: free.wait(30))
    assert check(served) == SERVING
    free.clear()
    assert eventually(lambda: check(served) == NOT_SERVING)
    free.set()
    assert eventually(lambda: check(served) == SERVING)


def test_a_readiness_that_hangs_does_not_hold_up_the_stop(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.health._OVERDUE_SECONDS", 0.1)
    hang = threading.Event()
    served = start(ready=lambda: hang.wait(30))
    began = time.monotonic()
    served.running.stop()
    assert time.monotonic() - began < 5
    hang.set()


def test_health_needs_no_token_and_knows_its_services(start: Start) -> None:
    served = start()
    assert check(served) == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        check(served, "some.other.Service")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_watched_health_tells_of_the_stop_and_does_not_hold_it_up(start: Start) -> None:
    served = start(max_workers=1, drain_seconds=30)
    watched = [watch(served) for _ in range(3)]
    for stream in watched:
        assert next(stream).status == SERVING, "three streams share one thread"
    served.stub().ask(ONE)
    served.running.stop()
    for stream in watched:
        assert next(stream).status == NOT_SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(stream)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    labels = {"grpc_service": "grpc.health.v1.Health", "grpc_method": "Watch", "grpc_type": "server_stream"}
    assert served.counted("grpc_server_handled_total", **labels, grpc_code="Unavailable") == 3


def test_reflection_lists_the_services(start: Start) -> None:
    database = ProtoReflectionDescriptorDatabase(start().channel(None))
    assert SERVICE in database.get_services()
    assert database.FindFileContainingSymbol(SERVICE).name == "brain/sample/v1/sample.proto"


def test_metrics_are_scraped_on_their_own_port(start: Start) -> None:
    served = start()
    served.stub().ask(ONE)
    with urllib.request.urlopen(f"http://127.0.0.1:{served.running.metrics_port}/metrics") as response:
        body = response.read().decode()
    labels = f'grpc_code="OK",grpc_method="Ask",grpc_service="{SERVICE}",grpc_type="unary"'
    assert f"grpc_server_handled_total{{{labels}}} 1.0" in body


def test_load_over_the_limit_is_shed(start: Start) -> None:
    gate = Gate()
    served = start(Sample(ask=gate.ask), max_workers=1, maximum_concurrent_rpcs=1)
    stub = served.stub()
    first = stub.ask.future(ONE)
    assert gate.entered.wait(5)
    with pytest.raises(grpc.RpcError) as caught:
        stub.ask(ONE)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    gate.open.set()
    assert first.result(5).accepted == 7


def test_a_message_over_the_limit_is_refused(start: Start) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        start().stub().ask_raw(bytes(9 << 20))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_server_without_verifier_starts_only_when_told_so(public_key_file: Path) -> None:
    values = {**minimal_settings(), "token_public_key_file": public_key_file}
    settings = ServiceSettings(**values)  # type: ignore[arg-type]  # any field
    registry = CollectorRegistry()
    with pytest.raises(ValueError, match="auth=off"):
        server.build(settings, Sample().register, [SERVICE], None, ready=lambda: True, registry=registry)


def test_with_auth_off_everybody_is_an_administrator(start: Start) -> None:
    served = start(auth="off", token_public_key_file=None)
    assert SampleStub(served.channel(None)).ask(ONE).accepted == 0


def test_a_taken_port_is_refused_not_shared(start: Start) -> None:
    taken = start().address
    with pytest.raises(RuntimeError):
        start(address=taken)


def test_a_unix_socket_serves(start: Start, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket"
    token = start(address=address).token(Role.ANALYST)
    with clients.channel(address, token) as channel:
        assert SampleStub(channel).ask(ONE).accepted == 0
