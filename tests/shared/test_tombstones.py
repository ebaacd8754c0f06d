"""The journal of erasures holds what it said it holds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.tombstones import ErasureMode, Journal, Tombstone

# The disk is full after 300 bytes: what writes more is cut short there, without an error.
FILL_UP = """
import resource, sys
from pathlib import Path
from shared.tombstones import ErasureMode, Journal, Tombstone
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
Journal(Path(sys.argv[1])).append([Tombstone(bytes([n]) * 16, n, ErasureMode.ERASE) for n in range(9)])
"""


def tombstones(count: int) -> list[Tombstone]:
    return [Tombstone(bytes([number]) * 16, number, ErasureMode.ERASE) for number in range(count)]


def test_what_was_appended_is_read_behind_what_a_crash_left(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "events.jsonl")
    assert journal.read() == []
    journal.append(tombstones(2))
    with (tmp_path / "events.jsonl").open("a") as file:
        file.write('{"who_digest": "00')
    journal.append(tombstones(1))
    assert journal.read() == [*tombstones(2), *tombstones(1)]


def test_erasures_that_do_not_fit_on_the_disk_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    command = [sys.executable, "-c", FILL_UP, str(path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "No space left on device" in done.stderr
    found = Journal(path).read()
    assert found == tombstones(len(found)) != tombstones(9)


def test_a_journal_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Journal(tmp_path / "gone" / "events.jsonl").append(tombstones(1))
