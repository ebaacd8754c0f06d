"""What can be scraped of a running suite."""

from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

import grpc
import httpx
from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub
from prometheus_client.parser import text_string_to_metric_families

from deploy.secret_files import SERVICES


def scrape(environment: Mapping[str, str]) -> Mapping[str, set[str]]:
    """Return each name with its labels, once every counter of calls has begun.

    `environment` is that of the command which runs the suite on one machine.
    """
    for service in SERVICES:
        _call(f"127.0.0.1:{environment[f'BRAIN_{service.upper()}_PORT']}")
    httpx.get(f"http://127.0.0.1:{environment['BRAIN_GATEWAY_PORT']}/healthz", timeout=30)
    found: dict[str, set[str]] = defaultdict(set)
    for name in (*SERVICES, "gateway"):
        port = environment[f"BRAIN_{name.upper()}_METRICS_PORT"]
        text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name] |= sample.labels.keys()
    return found


def _call(address: str) -> None:
    """Be refused for want of a token: that counts as well."""
    with grpc.insecure_channel(address) as channel, suppress(grpc.RpcError):
        AuditServiceStub(channel).ListAuditEntries(ListAuditEntriesRequest(), timeout=30)
