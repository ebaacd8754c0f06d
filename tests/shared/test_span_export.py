"""How spans reach a collector, and what happens where they do not."""

import logging
import subprocess
import sys
import time
from pathlib import Path

import grpc
import pytest
from brain.events.v1.events_pb2 import Event, TrackEventsRequest
from pydantic import ValidationError

from shared.config import ServiceSettings
from tests.collector import Collector, collecting
from tests.shared.certificates import Authority
from tests.shared.conftest import Served, Start, Traced, minimal_settings
from tests.shared.sample_service import SERVICE

ONE = TrackEventsRequest(events=[Event(event="a")])
ASK = f"{SERVICE}/Ask"


def spans_counted(served: Served, outcome: str) -> float:
    return served.registry.get_sample_value("trace_spans_total", {"outcome": outcome}) or 0.0


def test_a_collector_that_is_away_disturbs_nobody(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    served = start(traces_address=f"unix:{tmp_path}/nobody")
    stub = served.stub()
    for _ in range(50):
        assert stub.ask(ONE).accepted == 1
    began = time.monotonic()
    served.running.stop()
    assert time.monotonic() - began < 5
    assert spans_counted(served, "failed") == 50
    told = [record.getMessage() for record in caplog.records if record.name == "shared.span_export"]
    assert told == ["the collector takes no traces"]


def test_a_collector_that_does_not_answer_costs_spans_and_nothing_else(
    traced: Traced, collector: Collector
) -> None:
    collector.open.clear()
    served = traced()
    tracer = served.running.tracer
    assert tracer is not None
    for _ in range(5_000):
        tracer.of_served_call(f"/{SERVICE}/Ask", (), time.perf_counter()).end_served(grpc.StatusCode.OK)
    assert spans_counted(served, "dropped") == 5_000 - 4_096
    assert served.stub().ask(ONE).accepted == 1
    began = time.monotonic()
    served.running.stop()
    assert time.monotonic() - began < 7.5
    assert sum(spans_counted(served, outcome) for outcome in ("failed", "dropped")) == 5_001


def test_a_collector_is_asked_over_tls_and_shown_a_certificate(start: Start, tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue("localhost")
    for name, content in (("ca", authority.pem), ("certificate", certificate), ("key", key)):
        (tmp_path / name).write_bytes(content)
    asking = grpc.ssl_server_credentials([(key, certificate)], authority.pem, require_client_auth=True)
    with collecting("localhost:0", asking) as collector:
        files = {f"traces_{name}_file": tmp_path / name for name in ("ca", "certificate", "key")}
        served = start(None, lambda: True, traces_address=collector.address, **files)
        served.stub().ask(ONE)
        served.close()
        assert [span.name for span in collector.spans] == [ASK]


@pytest.mark.parametrize(
    "changes",
    [
        {"traces_address": "nowhere"},
        {"traces_ca_file": Path(__file__)},
        {"traces_address": "localhost:4317", "traces_key_file": Path(__file__)},
        {"traces_sample_ratio": 1.5},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="traces_"):
        ServiceSettings.model_validate({**minimal_settings(), "auth": "off", **changes})


def test_where_nothing_is_traced_nothing_is_loaded() -> None:
    code = """
import sys
from prometheus_client import CollectorRegistry
import gateway.application, services.funnels.application
from shared.config import ServiceSettings
from shared.tracing import open_tracer
from tests.shared.conftest import minimal_settings
def loaded(address):
    settings = ServiceSettings(**minimal_settings(), auth="off", traces_address=address)
    open_tracer(settings, "sample", CollectorRegistry())
    return sorted({"opentelemetry.trace", "opentelemetry.sdk", "opentelemetry.exporter"} & set(sys.modules))
print(loaded(""), len(loaded("127.0.0.1:1")))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[] 3\n"


def test_the_environment_adds_to_the_resource_and_to_what_a_collector_is_shown(
    traced: Traced, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=staging,service.name=other")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of-the-collector")
    traced().stub().ask(ONE)
    [span] = traced.spans(ASK)
    assert span.service == "shared"
    assert b"staging" in collector.requests[0]
    assert ("api-key", "of-the-collector") in collector.metadata


def test_what_waits_is_sent_at_the_end(traced: Traced, collector: Collector) -> None:
    served = traced()
    served.stub().ask(ONE)
    served.running.stop()
    assert len(collector.spans) == 1
    assert spans_counted(served, "exported") == 1
