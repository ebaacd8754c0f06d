"""Servers of the sample service, with the settings a test asks for."""

import base64
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from prometheus_client import CollectorRegistry

from shared import auth, clients, server
from shared.auth import Role, verifier_of
from shared.config import ServiceSettings
from tests.collector import Collector, Told, collecting
from tests.shared.sample_service import SERVICE, Sample, SampleStub

KEY = base64.b64encode(os.urandom(32)).decode()


class Served:
    """A running server and how to reach it."""

    def __init__(
        self, running: server.RunningServer, registry: CollectorRegistry, private_pem: bytes
    ) -> None:
        self.running = running
        self.registry = registry
        self._private_pem = private_pem
        self._channels = ExitStack()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.running.port}"

    def token(self, *roles: Role, lifetime_seconds: int | None = 60) -> str:
        return auth.mint_token(self._private_pem, "somebody", roles, lifetime_seconds, time.time())

    def channel(self, token: str | None = None, **options: Any) -> grpc.Channel:  # noqa: ANN401 - any of channel()
        return self._channels.enter_context(clients.channel(self.address, token, **options))

    def stub(self, *roles: Role) -> SampleStub:
        """A caller with these roles, analyst unless said."""
        return SampleStub(self.channel(self.token(*(roles or (Role.ANALYST,)))))

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, {"grpc_service": SERVICE, **labels}) or 0.0

    def close(self) -> None:
        self._channels.close()
        self.running.stop()


class Start(Protocol):
    def __call__(
        self, sample: Sample | None = None, ready: Callable[[], bool] = ..., **overrides: object
    ) -> Served: ...


@pytest.fixture
def start(public_key_file: Path, token_keys: tuple[bytes, bytes]) -> Iterator[Start]:
    """Starts servers, and stops them at the end of the test."""
    with ExitStack() as started:

        def begin(
            sample: Sample | None = None, ready: Callable[[], bool] = lambda: True, **overrides: object
        ) -> Served:
            values = {"token_public_key_file": public_key_file, "drain_seconds": 1, **overrides}
            settings = ServiceSettings(**{**minimal_settings(), **values})  # type: ignore[arg-type]  # any field
            registry = CollectorRegistry()
            verifier = verifier_of(settings)
            register = (sample or Sample()).register
            running = server.build(settings, register, [SERVICE], verifier, ready=ready, registry=registry)
            served = Served(running, registry, token_keys[0])
            started.callback(served.close)
            return served

        yield begin


class Traced:
    """Starts servers that are traced, and sees what they told once they stopped."""

    def __init__(self, collector: Collector, start: Start) -> None:
        self._collector = collector
        self._start = start
        self._started: list[Served] = []

    def __call__(self, sample: Sample | None = None, **changes: object) -> Served:
        changes = {"traces_address": self._collector.address, **changes}
        self._started.append(self._start(sample, lambda: True, **changes))
        return self._started[-1]

    def spans(self, name: str) -> list[Told]:
        """Stop all and return their spans of a name, in the order they began."""
        for served in self._started:
            served.close()
        found = [span for span in self._collector.spans if span.name == name]
        return sorted(found, key=lambda span: span.begun_nanos)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture
def traced(collector: Collector, start: Start) -> Traced:
    return Traced(collector, start)


def minimal_settings() -> dict[str, object]:
    return {
        "address": "127.0.0.1:0",
        "metrics_address": "127.0.0.1:0",
        "database_url": "postgresql://nobody@127.0.0.1/none",
        "database_schema": "sample",
        "encryption_keys": f"1:{KEY}",
        "blind_index_key": KEY,
    }
