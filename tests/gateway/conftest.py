"""A real gateway before a real events service, each test with its own, on one event loop for all."""

import asyncio
import base64
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import httpx
import pytest

from deploy.postgres import EmbeddedPostgres
from gateway import application
from gateway.config import GatewaySettings
from shared.auth import Role, mint_token
from tests import databases
from tests.clock import Clock
from tests.services.alerts.conftest import running as running_alerts
from tests.services.events.conftest import Service, running
from tests.services.experiments.conftest import Service as ExperimentsService
from tests.services.experiments.conftest import running as running_experiments
from tests.services.forecasting.conftest import Service as ForecastingService
from tests.services.forecasting.conftest import running as running_forecasting
from tests.services.funnels.conftest import Service as FunnelsService
from tests.services.funnels.conftest import running as running_funnels

T = TypeVar("T")

SECRET = base64.b64encode(bytes(range(32))).decode()
WRITE_KEY = "web-key"


def nested(levels: int) -> dict[str, object]:
    """An object in an object in an object."""
    made: dict[str, object] = {"innermost": 1}
    for _ in range(levels - 1):
        made = {"a": made}
    return made


class LoopThread:
    """An event loop in a thread. grpc.aio takes no second one in a process."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="gateway-loop")
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@dataclass(frozen=True)
class Gateway:
    """A running gateway, the service behind it, and who may ask what."""

    url: str
    metrics_url: str
    service: Service
    tokens: dict[Role, str]

    def client(self, role: Role | None = Role.ADMIN, **headers: str) -> httpx.Client:
        """Return a client with the token of a role."""
        token = {} if role is None else {"authorization": f"Bearer {self.tokens[role]}"}
        return httpx.Client(base_url=self.url, headers={**token, **headers}, timeout=30, verify=False)


@pytest.fixture(scope="session")
def loop_thread() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def clock() -> Clock:
    """The events service's time is the real one: senders stamp with theirs."""
    return Clock(time.time_ns() // 1_000)


@pytest.fixture
def service(
    events_database: str, clock: Clock, token_keys: tuple[bytes, bytes], public_key_file: Path
) -> Iterator[Service]:
    with running(events_database, clock, token_keys[0], public_key_file) as started:
        yield started


@pytest.fixture(scope="session")
def tokens(token_keys: tuple[bytes, bytes]) -> dict[Role, str]:
    return {
        role: mint_token(token_keys[0], f"the-{role.name.lower()}", [role], None, time.time())
        for role in Role
    }


@pytest.fixture
def experiments(
    experiments_database: str,
    token_keys: tuple[bytes, bytes],
    public_key_file: Path,
) -> Iterator[ExperimentsService]:
    """A real experiments service at the real time."""
    now = Clock(time.time_ns() // 1_000)
    with running_experiments(experiments_database, now, token_keys[0], public_key_file) as started:
        yield started


@contextmanager
def gateway_before(
    loop_thread: LoopThread, service: Service, tokens: dict[Role, str], key_file: Path, **changes: object
) -> Iterator[Gateway]:
    """A gateway; settings may be given by name."""
    settings = GatewaySettings.model_validate(
        {
            "address": "127.0.0.1:0",
            "metrics_address": "127.0.0.1:0",
            "events_address": f"127.0.0.1:{service.application.server.port}",
            "token_public_key_file": key_file,
            "secret": SECRET,
            "write_keys": f"web:{WRITE_KEY},app:app-key",
            "ingest_token": tokens[Role.INGEST],
            "drain_seconds": 1,
            **changes,
        }
    )
    started = loop_thread.run(application.start(settings, time.time))
    try:
        yield Gateway(
            f"http://127.0.0.1:{started.port}",
            f"http://127.0.0.1:{started.metrics.port}/metrics",
            service,
            tokens,
        )
    finally:
        loop_thread.run(started.stop())


@pytest.fixture
def start_gateway(
    loop_thread: LoopThread, service: Service, tokens: dict[Role, str], public_key_file: Path
) -> Iterator[Callable[..., Gateway]]:
    """Starts a gateway; settings may be given by name."""
    with ExitStack() as stack:

        def start(**changes: object) -> Gateway:
            return stack.enter_context(
                gateway_before(loop_thread, service, tokens, public_key_file, **changes)
            )

        yield start


@pytest.fixture
def experimenting(start_gateway: Callable[..., Gateway], experiments: ExperimentsService) -> Gateway:
    """A gateway with the experiments service behind it."""
    return start_gateway(experiments_address=f"127.0.0.1:{experiments.application.server.port}")


@pytest.fixture
def funnels(
    funnels_database: str, service: Service, token_keys: tuple[bytes, bytes], tmp_path: Path
) -> Iterator[FunnelsService]:
    """A real funnels service at the real time, over the events service."""
    now = Clock(time.time_ns() // 1_000)
    with running_funnels(funnels_database, service, token_keys, tmp_path, clock=now) as started:
        yield started


@contextmanager
def forecasting_before(
    service: Service,
    database: str,
    token_keys: tuple[bytes, bytes],
    analyst: str,
    key_file: Path,
) -> Iterator[ForecastingService]:
    """A real forecasting service at the real time, which reads from the events service as an analyst."""
    token_file = key_file.with_name("sources.token")
    token_file.write_text(analyst)
    sources = {"events": f"127.0.0.1:{service.application.server.port}"}
    now = Clock(time.time_ns() // 1_000)
    with running_forecasting(
        database, now, token_keys[0], key_file, metric_sources=sources, sources_token_file=token_file
    ) as started:
        yield started


@pytest.fixture
def funnelling(start_gateway: Callable[..., Gateway], funnels: FunnelsService) -> Gateway:
    """A gateway with the funnels service behind it."""
    return start_gateway(funnels_address=f"127.0.0.1:{funnels.application.server.port}")


@pytest.fixture
def forecasting(
    service: Service,
    forecasting_database: str,
    token_keys: tuple[bytes, bytes],
    tokens: dict[Role, str],
    public_key_file: Path,
) -> Iterator[ForecastingService]:
    analyst = tokens[Role.ANALYST]
    with forecasting_before(service, forecasting_database, token_keys, analyst, public_key_file) as started:
        yield started


@pytest.fixture
def predicting(start_gateway: Callable[..., Gateway], forecasting: ForecastingService) -> Gateway:
    """A gateway with the forecasting service behind it."""
    return start_gateway(forecasting_address=f"127.0.0.1:{forecasting.application.server.port}")


@pytest.fixture(scope="session")
def shared_gateway(
    loop_thread: LoopThread,
    postgres: EmbeddedPostgres,
    template_database: Callable[[str], str],
    token_keys: tuple[bytes, bytes],
    tokens: dict[Role, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Gateway]:
    """A gateway for tests that store nothing, or nothing that others would meet."""
    directory = tmp_path_factory.mktemp("keys")
    key_file = directory / "public.pem"
    key_file.write_bytes(token_keys[1])
    with ExitStack() as stack:

        def fresh(name: str) -> str:
            return postgres.url(stack.enter_context(databases.clone(postgres, template_database(name))), name)

        now = Clock(time.time_ns() // 1_000)
        service = stack.enter_context(running(fresh("events"), now, token_keys[0], key_file))
        clock = Clock(time.time_ns() // 1_000)
        tried = stack.enter_context(running_experiments(fresh("experiments"), clock, token_keys[0], key_file))
        walked = stack.enter_context(
            running_funnels(fresh("funnels"), service, token_keys, directory, clock=Clock(now.micros))
        )
        analyst = tokens[Role.ANALYST]
        forecasts = stack.enter_context(
            forecasting_before(service, fresh("forecasting"), token_keys, analyst, key_file)
        )
        watching = stack.enter_context(running_alerts(fresh("alerts"), now, token_keys[0], key_file))
        addresses = {
            "experiments_address": f"127.0.0.1:{tried.application.server.port}",
            "funnels_address": f"127.0.0.1:{walked.application.server.port}",
            "forecasting_address": f"127.0.0.1:{forecasts.application.server.port}",
            "alerts_address": f"127.0.0.1:{watching.application.server.port}",
        }
        yield stack.enter_context(gateway_before(loop_thread, service, tokens, key_file, **addresses))


@pytest.fixture
def gateway(start_gateway: Callable[..., Gateway]) -> Gateway:
    return start_gateway()
