"""`brain audit`, run against a real service."""

import json
from collections.abc import Callable
from datetime import datetime

import pytest
from click.testing import CliRunner

from brain_client.cli import main
from shared import audit
from shared.audit import AuditEntry
from tests.services.events.conftest import Service

MANY = 1_001  # more than a page


@pytest.fixture
def open_service(start_service: Callable[..., Service]) -> Service:
    return start_service(auth="off", token_public_key_file=None)


def asked(service: Service, *options: str) -> list[dict[str, object]]:
    address = f"127.0.0.1:{service.application.server.port}"
    ran = CliRunner().invoke(main, ["--address", address, "--token", "t", "audit", *options])
    assert ran.exit_code == 0, ran.output
    entries = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {entry.pop("service") for entry in entries} == {address}
    return entries


def test_each_change_is_told_the_newest_first(open_service: Service) -> None:
    with open_service.engine.begin() as connection:
        for number in range(MANY):
            audit.record(connection, AuditEntry("ann", "renamed", f"thing {number}", {"number": number}))
    last = asked(open_service, "--limit", "2")
    assert [(entry["actor"], entry["action"], entry["subject"]) for entry in last] == [
        ("ann", "renamed", f"thing {MANY - 1}"),
        ("ann", "renamed", f"thing {MANY - 2}"),
    ]
    assert last[0]["details"] == {"number": MANY - 1}
    assert datetime.fromisoformat(str(last[0]["entry_time"])).tzinfo is not None
    everything = asked(open_service, "--limit", "100000")
    subjects = [entry["subject"] for entry in everything if entry["action"] == "renamed"]
    assert subjects == [f"thing {number}" for number in reversed(range(MANY))]
    ids = [entry["entry_id"] for entry in everything]
    assert ids == sorted(map(int, map(str, ids)), reverse=True)
