"""Alerts replicas as processes, what is asked of them, and hours that end when a test wants it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import time

from brain.alerts.v1.alerts_pb2_grpc import AlertsServiceStub

from tests.faults.conftest import Database
from tests.faults.servers import Server

HOUR_SECONDS = 3_600
SECOND = 1_000_000


@dataclass(frozen=True)
class Asked:
    """A replica as tests/services/alerts/asking.py asks it."""

    alerts: AlertsServiceStub


@contextmanager
def asked(server: Server) -> Iterator[Asked]:
    """Open a channel to a replica, as the suite's own clients do."""
    with server.channel() as channel:
        yield Asked(AlertsServiceStub(channel))


def replica(database: Database, directory: Path, sources: Mapping[str, str], **settings: str) -> Server:
    """Return a replica, not started yet, that watches sources and may tell receivers on this machine."""
    return Server(
        "alerts",
        database.url("alerts"),
        directory,
        METRIC_SOURCES=json.dumps(dict(sources)),
        ALLOWED_NETWORKS="127.0.0.0/8",
        **settings,
    )


def last_hour() -> int:
    """Return when the hour began that is now, in Unix seconds."""
    return int(time()) // HOUR_SECONDS * HOUR_SECONDS


def end_leases(database: Database) -> None:
    """Let the leases of replicas that were killed end as if a minute had passed."""
    with database.connect("alerts") as connection:
        for table in ("alert_states", "outbox"):
            connection.execute(f"UPDATE {table} SET lease_until_time = '-infinity'".encode())
