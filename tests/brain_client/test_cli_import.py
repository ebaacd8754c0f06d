import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result

from brain_client import upload
from brain_client.cli import main
from tests.brain_client.memory_events import Running, Store, serve

Import = Callable[..., Result]


@pytest.fixture
def imported(served: Running, directory: Path) -> Import:
    def run(file: str, *options: str) -> Result:
        arguments = ["--address", served.address, "--token", "t", "import", file, *options]
        return CliRunner().invoke(main, arguments)

    return run


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "BATCH_EVENTS", 10)


def csv_lines(count: int) -> str:
    lines = [f"viewed,s-{n % 5},2011-12-09 12:{n % 60:02}:00,{n}" for n in range(count)]
    return "\n".join(["event,session_id,event_time,number", *lines, ""])


def test_every_line_is_stored_and_a_second_import_is_all_duplicates(
    imported: Import, store: Store, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(6_000))
    first = imported("e.csv")
    assert (first.exit_code, len(store.events)) == (0, 6_000)
    assert "6,000 accepted, 0 duplicates, 0 rejected" in first.output
    second = imported("e.csv")
    assert (second.exit_code, len(store.events)) == (0, 6_000)
    assert "0 accepted, 6,000 duplicates, 0 rejected" in second.output


def test_a_file_moved_elsewhere_is_still_the_same_source(
    imported: Import, store: Store, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(10))
    imported("e.csv")
    (directory / "below").mkdir()
    (directory / "e.csv").rename(directory / "below" / "e.csv")
    assert "10 duplicates" in imported("below/e.csv").output
    assert "10 accepted" in imported("below/e.csv", "--source", "another").output


def test_an_unpacked_file_has_the_ids_of_the_packed_one(
    imported: Import, store: Store, directory: Path
) -> None:
    (directory / "e.csv.gz").write_bytes(gzip.compress(csv_lines(10).encode()))
    (directory / "e.csv").write_text(csv_lines(10))
    assert "10 accepted" in imported("e.csv.gz").output
    assert "10 duplicates" in imported("e.csv").output


def test_the_state_of_an_interrupted_import_is_kept_where_asked(
    imported: Import, small_batches: None, served: Running, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(200))
    served.servicer.calls_allowed = 8
    imported("e.csv", "--state", "elsewhere")
    assert len(list((directory / "elsewhere").iterdir())) == 1
    assert not (directory / ".brain").exists()


def test_compressed_json_lines_are_read(imported: Import, store: Store, directory: Path) -> None:
    line = {"event": "e", "session_id": "s", "event_time": "2026-01-01T00:00:00Z", "properties": {"a": 1}}
    with gzip.open(directory / "e.jsonl.gz", "wt") as file:
        file.write(f"{json.dumps(line)}\n\n{json.dumps(line)}\n")
    assert imported("e.jsonl.gz").exit_code == 0
    assert [event.properties_json for event in store.events.values()] == ['{"a":1}'] * 2


def test_bad_lines_are_told_with_number_and_reason_and_the_rest_is_stored(
    imported: Import, store: Store, directory: Path
) -> None:
    lines = [
        b"event,session_id,event_time,page",
        b"good,s,2026-01-01,/",
        b"bad-name,s,2026-01-01,/",
        b"good,s,never,/",
        b"good,s,2026-01-01",
        b"good,s,2026-01-01,\xff\xfe",
        b"good,s,2026-01-02,/",
    ]
    (directory / "e.csv").write_bytes(b"\n".join(lines))
    result = imported("e.csv")
    assert result.exit_code == 1
    assert "2 accepted, 0 duplicates, 4 rejected" in result.output
    assert "line 3: event is bad" in result.output
    assert "line 3: value is bad too" in result.output
    assert "line 4: event_time must be ISO 8601" in result.output
    assert "line 5: has 3 columns where the header has 4" in result.output
    assert "line 6: " in result.output
    assert len(store.events) == 2


def test_broken_json_is_told_by_line(imported: Import, directory: Path) -> None:
    (directory / "e.jsonl").write_text('{"event"\n[1]\n' + "[" * 100_000 + "\n")
    result = imported("e.jsonl")
    assert result.exit_code == 1
    assert "line 1: not JSON" in result.output
    assert "line 2: not a JSON object" in result.output
    assert "line 3: not JSON" in result.output


def test_a_flood_of_bad_lines_is_counted_not_listed(imported: Import, directory: Path) -> None:
    (directory / "e.jsonl").write_text("no\n" * 100)
    result = imported("e.jsonl")
    assert "100 rejected" in result.output
    assert result.output.count("not JSON") == 20


def test_an_interrupted_import_goes_on_where_it_stopped(
    imported: Import, small_batches: None, served: Running, store: Store, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(200))
    served.servicer.calls_allowed = 8
    broken = imported("e.csv")
    assert broken.exit_code == 1
    assert "PERMISSION_DENIED" in broken.output
    served.servicer.calls_allowed = None
    stored = len(store.events)
    assert 0 < stored < 200
    resumed = imported("e.csv")
    assert resumed.exit_code == 0
    assert "Going on after line" in resumed.output
    assert len(store.events) == 200
    assert not list((directory / ".brain" / "imports").iterdir())


def test_an_interrupted_import_begins_anew_on_another_server(
    imported: Import, small_batches: None, served: Running, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(200))
    served.servicer.calls_allowed = 8
    imported("e.csv")
    other = serve(Store())
    result = CliRunner().invoke(main, ["--address", other.address, "--token", "t", "import", "e.csv"])
    other.kill()
    assert "200 accepted, 0 duplicates" in result.output
    served.servicer.calls_allowed = None
    assert "Going on after line" in imported("e.csv").output


def test_an_interrupted_import_begins_anew_in_a_new_database(
    imported: Import, small_batches: None, served: Running, store: Store, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(200))
    served.servicer.calls_allowed = 8
    imported("e.csv")
    served.servicer.calls_allowed = None
    store.events.clear()
    resumed = imported("e.csv")
    assert "did not have 10 of the last events" in resumed.output
    assert "Going on" not in resumed.output
    assert len(store.events) == 200


def test_bad_lines_behind_the_last_stored_ones_do_not_hide_a_new_database(
    imported: Import, small_batches: None, served: Running, store: Store, directory: Path
) -> None:
    bad = csv_lines(100).replace("viewed", "bad").partition("\n")[2]
    (directory / "e.csv").write_text(csv_lines(50) + bad + csv_lines(90).partition("\n")[2])
    served.servicer.calls_allowed = 8
    imported("e.csv")
    served.servicer.calls_allowed = None
    store.events.clear()
    assert "did not have" in imported("e.csv").output
    assert len(store.events) == 140


def test_a_changed_file_is_not_resumed(
    imported: Import, small_batches: None, served: Running, store: Store, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(200))
    served.servicer.calls_allowed = 8
    imported("e.csv")
    served.servicer.calls_allowed = None
    (directory / "e.csv").write_text(csv_lines(201))
    assert "Going on" not in imported("e.csv").output
    assert len(store.events) == 201


def test_failures_that_pass_cost_an_import_nothing(
    imported: Import, small_batches: None, served: Running, store: Store, directory: Path
) -> None:
    (directory / "e.csv").write_text(csv_lines(200))
    served.servicer.failures = [(grpc.StatusCode.ABORTED, None), (grpc.StatusCode.RESOURCE_EXHAUSTED, 0.05)]
    assert imported("e.csv").exit_code == 0
    assert len(store.events) == 200


def test_a_cut_archive_is_an_error_not_a_trace(imported: Import, directory: Path) -> None:
    (directory / "e.csv.gz").write_bytes(gzip.compress(csv_lines(5_000).encode())[:-200])
    result = imported("e.csv.gz")
    assert result.exit_code == 1
    assert result.output.strip().splitlines()[-1].startswith("Error: ")


def test_other_kinds_of_files_are_refused(imported: Import, directory: Path) -> None:
    (directory / "e.parquet").touch()
    assert ".csv, .jsonl or .ndjson" in imported("e.parquet").output


def test_the_installed_command_imports(served: Running, store: Store, directory: Path) -> None:
    (directory / "e.csv").write_text(csv_lines(20))
    command = [str(Path(sys.executable).with_name("brain")), "import", "e.csv"]
    environment = {**os.environ, "BRAIN_ADDRESS": served.address, "BRAIN_TOKEN": "t"}
    finished = subprocess.run(
        command, env=environment, cwd=directory, capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith("20 accepted, 0 duplicates, 0 rejected")
    assert store.tokens == {"Bearer t"}
