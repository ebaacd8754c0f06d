"""`brain privacy`, run against real services."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from brain_client.cli import main
from tests.services.events.conftest import Service
from tests.services.events.identity.asking import counted, event, track

Run = Callable[..., Result]


@pytest.fixture
def open_service(start_service: Callable[..., Service]) -> Service:
    return start_service(auth="off", token_public_key_file=None)


def address(service: Service) -> str:
    return f"127.0.0.1:{service.application.server.port}"


@pytest.fixture
def run(open_service: Service) -> Run:
    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["--address", address(open_service), "--token", "t", *arguments])

    return invoke


def test_export_prints_json_lines(run: Run, open_service: Service) -> None:
    track(open_service, event("a", user="ann"), event("b", anonymous="ann"))
    lines = [json.loads(line) for line in run("privacy", "export", "ann").stdout.splitlines()]
    assert [(line["service"], line["table"]) for line in lines] == [
        (address(open_service), "users"),
        (address(open_service), "events"),
    ]
    anonymous = run("privacy", "export", "ann", "--kind", "anonymous").output
    assert '"event_id":"b"' in anonymous
    assert '"event_id":"a"' not in anonymous


def test_erase_asks_first_and_prints_a_receipt(run: Run, open_service: Service) -> None:
    track(open_service, event("a", user="ann"))
    assert run("privacy", "erase", "ann", "--mode", "erase").exit_code == 1  # nobody said yes
    assert counted(open_service) == (1, 1)
    receipt = json.loads(run("privacy", "erase", "ann", "--mode", "erase", "--yes").stdout)
    assert receipt["rows"] == {"events": 1, "users": 1, "merge_requests": 0, "tombstones": 1}
    assert receipt["erased_time"] == "2011-11-11T08:26:40Z"
    assert counted(open_service) == (0, 0)


def test_whoever_asks_one_service_of_many_is_told(run: Run, open_service: Service) -> None:
    where = address(open_service)
    alone = f"Asking {where} alone: name the other services with --service.\n"
    assert run("privacy", "export", "ann").stderr == alone
    assert run("privacy", "erase", "ann", "--mode", "erase", "--yes").stderr == alone
    assert run("privacy", "export", "ann", "--service", where).stderr == ""


def test_tombstones_travel_through_a_file(run: Run, open_service: Service, tmp_path: Path) -> None:
    for name in ("ann", "bob"):
        run("privacy", "erase", name, "--mode", "anonymize", "--yes")
    kept = tmp_path / "tombstones.jsonl"
    kept.write_text(run("privacy", "tombstones", "export").output)
    assert len(kept.read_text().splitlines()) == 2
    with open_service.engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE tombstones")
    expected = {"service": address(open_service), "applied": 2, "erased_ids": 0}
    assert json.loads(run("privacy", "tombstones", "apply", str(kept)).output) == expected
    again = run("privacy", "tombstones", "apply", str(kept)).output
    assert json.loads(again) == expected | {"applied": 0}
    assert run("privacy", "tombstones", "export").output == kept.read_text()


def test_every_service_is_asked_also_after_one_failed(run: Run, open_service: Service) -> None:
    nowhere = "127.0.0.1:1"
    services = ["--service", nowhere, "--service", address(open_service)]
    run("privacy", "erase", "ann", "--mode", "erase", "--yes")
    result = run("privacy", "tombstones", "export", *services)
    assert result.exit_code == 1
    assert f"Error: {nowhere}: UNAVAILABLE" in result.output
    assert f'"service": "{address(open_service)}"' in result.output


def test_nothing_is_erased_unless_every_service_answers(run: Run, open_service: Service) -> None:
    track(open_service, event("a", user="ann"))
    services = ["--service", address(open_service), "--service", "127.0.0.1:1"]
    assert run("privacy", "erase", "ann", "--mode", "erase", "--yes", *services).exit_code == 1
    assert counted(open_service) == (1, 1)  # what it knows of ann's ids, the other will need


def test_a_file_for_other_services_is_refused(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    line = {"service": "elsewhere:1", "who_digest": "00" * 16, "mode": "erase"}
    other.write_text(json.dumps(line | {"erased_time": "2026-01-01T00:00:00Z"}) + "\n")
    assert "elsewhere:1" in run("privacy", "tombstones", "apply", str(other)).output
    other.write_text("nonsense\n")
    assert "not a line of an export" in run("privacy", "tombstones", "apply", str(other)).output
