"""Rules and dashboards name what the running suite exposes, and nothing else."""

import shutil
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import grpc
import httpx
import pytest
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from prometheus_client.parser import text_string_to_metric_families

from tests.deploy.watching import expressions
from tests.deploy.watching.expressions import OWN_LABELS, OWN_METRICS, asked
from tests.system.launcher import Launcher, eventually, free_ports

# Of each gRPC service, and of the gateway: where `Launcher` puts calls and metrics among its ports.
GRPC_PORTS = {0: 1, 4: 5, 7: 8, 9: 10, 11: 12}
GATEWAY_METRICS_PORT = 3


@pytest.fixture
def exposed(scratch_directory: Path) -> Iterator[Mapping[str, set[str]]]:
    """Each name that can be scraped, with its labels."""
    directory, ports = scratch_directory / "watched", free_ports()
    launcher = Launcher(directory, ports)
    launcher.wait_for("Analytics Brain is up")
    for port in GRPC_PORTS:
        call(f"127.0.0.1:{ports[port]}")
    httpx.get(f"{launcher.gateway_url}/healthz", timeout=30)
    yield scraped([ports[port] for port in (*GRPC_PORTS.values(), GATEWAY_METRICS_PORT)])
    assert launcher.stop() == 0
    eventually(lambda: not launcher.processes(), lambda: str(launcher.processes()))
    shutil.rmtree(directory)


def call(address: str) -> None:
    """Be refused for want of a token, so that every counter of calls has begun."""
    with grpc.insecure_channel(address) as channel, suppress(grpc.RpcError):
        AuditServiceStub(channel).ListAuditEntries(ListAuditEntriesRequest(), timeout=30)


def scraped(ports: list[int]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for port in ports:
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] |= sample.labels.keys()
    return found


def test_every_metric_and_label_that_is_asked_for_is_exposed(exposed: Mapping[str, set[str]]) -> None:
    for expression in expressions.expressions():
        for each in asked(expression):
            if ":" in each.metric or each.metric in OWN_METRICS:
                continue
            assert each.metric in exposed, expression
            assert each.labels <= exposed[each.metric] | OWN_LABELS, expression
