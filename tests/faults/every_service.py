"""The five services beside each other, and a question that each of them answers from its database."""

from collections.abc import Callable

from brain.audit.v1.audit_pb2 import ListAuditEntriesRequest
from brain.audit.v1.audit_pb2_grpc import AuditServiceStub

from tests.faults.conftest import Database
from tests.faults.servers import Server, free_port


def start_all(database: Database, start: Callable[..., Server], **common: str) -> list[Server]:
    """Start a replica of every service; those that ask others ask the events service."""
    events = start("events", database.url("events"), **common)
    sources = f'{{"events": "{events.address}"}}'
    settings: dict[str, dict[str, str]] = {
        "experiments": {
            "EVENTS_ADDRESS": events.address,
            "FLAGD_ADDRESS": f"127.0.0.1:{free_port()}",
        },
        "funnels": {"EVENTS_ADDRESS": events.address},
        "forecasting": {"METRIC_SOURCES": sources},
        "alerts": {"METRIC_SOURCES": sources},
    }
    others = [start(name, database.url(name), **chosen, **common) for name, chosen in settings.items()]
    return [events, *others]


def ask(server: Server) -> None:
    """Ask something that only the database knows, as every service is asked."""
    with server.plain_channel() as channel:
        AuditServiceStub(channel).ListAuditEntries(ListAuditEntriesRequest(), timeout=20)
