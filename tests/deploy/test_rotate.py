import signal
import tempfile
import time
from pathlib import Path

import pytest

from deploy import processes


@pytest.fixture
def log(scratch_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(processes, "LARGEST_LOG_BYTES", 1_000_000)
    return Path(tempfile.mkdtemp(dir=scratch_directory)) / "service.log"


def test_a_log_is_rotated_by_size_and_no_line_is_lost_or_cut(log: Path) -> None:
    lines = [b"%06d %s\n" % (number, b"x" * (number % 100)) for number in range(30_000)]
    rotation = processes.start_rotation(log)
    rotation.communicate(b"".join(lines), timeout=30)
    older = log.with_name("service.log.1")
    assert max(log.stat().st_size, older.stat().st_size) <= 1_000_000
    assert older.read_bytes() + log.read_bytes() == b"".join(lines)
    assert log.stat().st_mode & 0o077 == 0


def test_what_is_said_last_is_written_though_everybody_was_told_to_stop(log: Path) -> None:
    log.write_bytes(b"of the run before\n")
    rotation = processes.start_rotation(log)
    assert rotation.stdin is not None
    rotation.stdin.write(b"first\n")
    rotation.stdin.flush()
    deadline = time.monotonic() + 30
    while b"first" not in log.read_bytes():  # it has started
        assert time.monotonic() < deadline
    for name in (signal.SIGINT, signal.SIGTERM):
        rotation.send_signal(name)
    rotation.communicate(b"last words without an end", timeout=30)
    assert log.read_bytes() == b"of the run before\nfirst\nlast words without an end"
