"""Everybody who asks the events service shows a certificate where it asks for one, or is not let in."""

import json
import re
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from brain.alerts.v1 import alerts_pb2
from brain.common.v1.common_pb2 import INTERVAL_DAY
from brain.events.v1 import events_pb2
from brain.experiments.v1 import experiments_pb2
from brain.forecasting.v1 import forecasts_pb2
from brain.funnels.v1 import funnels_pb2
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc

from brain_client import Brain, Tls
from brain_client.cli import main
from deploy.postgres import EmbeddedPostgres
from shared.auth import Role
from shared.clients import read_tls
from tests import databases
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.services.alerts.asking import definition as alert
from tests.services.alerts.conftest import running as running_alerts
from tests.services.events.conftest import Service, running
from tests.services.experiments.asking import SIGNUP, assign, create, start
from tests.services.experiments.asking import definition as experiment
from tests.services.experiments.conftest import running as running_experiments
from tests.services.forecasting.conftest import running as running_forecasting
from tests.services.funnels.asking import span, steps
from tests.services.funnels.conftest import running as running_funnels
from tests.shared.certificates import Authority

# A refused client tries again and again; this long it may.
SECONDS = 0.7
AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
FED = experiments_pb2.Metric(name="fed", kind=SIGNUP.kind, feed=experiments_pb2.EventFeed(event="bought"))


@dataclass(frozen=True)
class Guarded:
    """An events service that asks for certificates, and what a test needs to build its callers."""

    service: Service
    directory: Path
    tokens: dict[Role, str]
    token_keys: tuple[bytes, bytes]
    database: Callable[[str], str]

    @property
    def address(self) -> str:
        return f"localhost:{self.service.application.server.port}"

    def shown(self, asked: str, who: str | None) -> dict[str, object]:
        """The settings of a caller who trusts the service and shows the certificate of `who`."""
        found: dict[str, object] = {f"{asked}_ca_file": self.directory / "ca"}
        if who is not None:
            found[f"{asked}_certificate_file"] = self.directory / f"{who}.certificate"
            found[f"{asked}_key_file"] = self.directory / f"{who}.key"
        return found

    def tls(self, who: str | None) -> Tls:
        found = read_tls(*self.shown("x", who).values())  # type: ignore[arg-type]  # paths
        assert found is not None
        return found

    def calls(self) -> float:
        """How many calls arrived, by the metrics, which ask for certificates too."""
        trusting = ssl.create_default_context(cafile=self.directory / "ca")
        trusting.load_cert_chain(self.directory / "known.certificate", self.directory / "known.key")
        url = f"https://localhost:{self.service.application.server.metrics_port}/metrics"
        with urllib.request.urlopen(url, context=trusting) as reply:
            told = reply.read().decode()
        return sum(map(float, re.findall(r"^grpc_server_started_total\{.*\} (.*)$", told, re.MULTILINE)))


@pytest.fixture(scope="module")
def guarded(
    postgres: EmbeddedPostgres,
    template_database: Callable[[str], str],
    token_keys: tuple[bytes, bytes],
    tokens: dict[Role, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("certificates")
    authority = Authority()
    for name, issuer in (("server", authority), ("known", authority), ("stranger", Authority())):
        certificate, key = issuer.issue("localhost")
        (directory / f"{name}.certificate").write_bytes(certificate)
        (directory / f"{name}.key").write_bytes(key)
    (directory / "ca").write_bytes(authority.pem)
    (directory / "public.pem").write_bytes(token_keys[1])
    (directory / "token").write_text(tokens[Role.ANALYST])
    with ExitStack() as stack:

        def database(name: str) -> str:
            template = template_database(name)
            return postgres.url(stack.enter_context(databases.clone(postgres, template)), name)

        files = {
            "tls_certificate_file": directory / "server.certificate",
            "tls_key_file": directory / "server.key",
            "tls_client_ca_file": directory / "ca",
        }
        events = running(database("events"), Clock(), token_keys[0], directory / "public.pem", **files)
        yield Guarded(stack.enter_context(events), directory, tokens, token_keys, database)


Ask = Callable[[Guarded, dict[str, object]], None]


def from_experiments(guarded: Guarded, tls: dict[str, object]) -> None:
    asked = {"events_address": guarded.address, "events_token_file": guarded.directory / "token", **tls}
    key_file = guarded.directory / "public.pem"
    database = guarded.database("experiments")
    with running_experiments(database, Clock(), guarded.token_keys[0], key_file, **asked) as service:
        create(service, what=experiment(metrics=[FED]))
        start(service)
        assign(service, "ann")
        request = experiments_pb2.GetResultsRequest(experiment_key="colour")
        service.experiments.GetResults(request, timeout=SECONDS)


def from_funnels(guarded: Guarded, tls: dict[str, object]) -> None:
    changes = {"events_address": guarded.address, **tls}
    database = guarded.database("funnels")
    with running_funnels(
        database, guarded.service, guarded.token_keys, guarded.directory, **changes
    ) as service:
        request = funnels_pb2.AnalyzeFunnelRequest(steps=steps("AB"), time_range=span())
        service.funnels.AnalyzeFunnel(request, timeout=SECONDS)


def sources(guarded: Guarded, tls: dict[str, object]) -> dict[str, object]:
    named = {"events": guarded.address}
    return {"metric_sources": named, "sources_token_file": guarded.directory / "token", **tls}


def from_forecasting(guarded: Guarded, tls: dict[str, object]) -> None:
    database, key_file = guarded.database("forecasting"), guarded.directory / "public.pem"
    asked = sources(guarded, tls)
    with running_forecasting(database, Clock(), guarded.token_keys[0], key_file, **asked) as service:
        request = forecasts_pb2.ForecastMetricRequest(
            metric=forecasts_pb2.MetricReference(source="events", name="dau", interval=INTERVAL_DAY)
        )
        service.forecasting.ForecastMetric(request, timeout=SECONDS)


def from_alerts(guarded: Guarded, tls: dict[str, object]) -> None:
    database, key_file = guarded.database("alerts"), guarded.directory / "public.pem"
    asked = {**sources(guarded, tls), "poll_seconds": SECONDS}
    with running_alerts(database, Clock(), guarded.token_keys[0], key_file, **asked) as service:
        request = alerts_pb2.PreviewAlertRequest(definition=alert(), time_range=span(0, 86_400))
        service.alerts.PreviewAlert(request, timeout=SECONDS)


def from_the_client(guarded: Guarded, tls: dict[str, object]) -> None:
    with Brain(guarded.address, guarded.tokens[Role.ANALYST], tls=read_tls(*tls.values())) as brain:  # type: ignore[arg-type]  # paths
        request = events_pb2.GetTopEventsRequest(time_range=span())
        brain.events.GetTopEvents(request, timeout=SECONDS)


CALLERS: list[tuple[Ask, str]] = [
    (from_experiments, "events"),
    (from_funnels, "events"),
    (from_forecasting, "sources"),
    (from_alerts, "sources"),
    (from_the_client, "x"),
]


@pytest.mark.parametrize("who", ["known", None])
@pytest.mark.parametrize(("ask", "asked"), CALLERS)
def test_who_asks_is_let_in_by_the_certificate_alone(
    guarded: Guarded, ask: Ask, asked: str, who: str | None
) -> None:
    before = guarded.calls()
    # That there is too little to forecast is an answer.
    is_away = code_of(lambda: ask(guarded, guarded.shown(asked, who))) in AWAY
    assert is_away == (who != "known")
    assert (guarded.calls() > before) == (who == "known")


def code_of(call: Callable[[], None]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_the_command_shows_a_certificate(guarded: Guarded) -> None:
    files = [str(path) for path in guarded.shown("x", "known").values()]
    options = ["--address", guarded.address, "--token", guarded.tokens[Role.INGEST]]
    options += ["--ca", files[0], "--certificate", files[1], "--key", files[2]]
    done = CliRunner().invoke(main, [*options, "track", "signed_up", "--user", "u", "--time", "2011-11-11"])
    assert "stored" in done.output, done.output
    refused = CliRunner().invoke(main, ["--certificate", files[1], "--key", files[2], "track", "x"])
    assert "--ca turns on" in refused.output


def test_the_command_refuses_half_a_pair(guarded: Guarded) -> None:
    files = [str(path) for path in guarded.shown("x", "known").values()]
    done = CliRunner().invoke(main, ["--ca", files[0], "--certificate", files[1], "track", "x"])
    assert done.exit_code != 0
    assert "need each other" in done.output


@pytest.mark.parametrize("who", ["known", "stranger"])
def test_the_gateway_asks_and_shows(
    start_gateway: Callable[..., Gateway], guarded: Guarded, who: str | None
) -> None:
    """Services may each have an authority of their own; what the gateway shows is the same for all."""
    shown = guarded.shown("services", who)
    shown["events_ca_file"] = shown.pop("services_ca_file")
    server = {
        "tls_certificate_file": guarded.directory / "server.certificate",
        "tls_key_file": guarded.directory / "server.key",
        "tls_client_ca_file": guarded.directory / "ca",
    }
    gateway = start_gateway(events_address=guarded.address, **shown, **server)
    trusting = ssl.create_default_context(cafile=guarded.directory / "ca")
    url = gateway.url.replace("http://127.0.0.1", "https://localhost")
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{url}/healthz", verify=trusting)
    trusting.load_cert_chain(guarded.directory / "known.certificate", guarded.directory / "known.key")
    answer = httpx.get(f"{url}/healthz", verify=trusting)
    assert answer.status_code == (200 if who == "known" else 503), json.dumps(answer.json())


def test_flags_are_as_closed_as_their_service(guarded: Guarded) -> None:
    files = {
        "tls_certificate_file": guarded.directory / "server.certificate",
        "tls_key_file": guarded.directory / "server.key",
        "tls_client_ca_file": guarded.directory / "ca",
    }
    key_file = guarded.directory / "public.pem"
    database = guarded.database("experiments")
    with running_experiments(database, Clock(), guarded.token_keys[0], key_file, **files) as service:
        address = f"localhost:{service.application.flags.port}"
        codes = []
        for who in ("known", "stranger", None):
            with grpc.secure_channel(
                address, guarded.tls(who).credentials, (("grpc.enable_retries", 0),)
            ) as channel:
                call = health_pb2_grpc.HealthStub(channel).Check.future(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]  # stubs lack it
                codes.append(call.code())
        assert codes == [grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE]
