"""A process whose clock a test moves while it runs, by Debian's libfaketime and a file that it reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import time

SECOND = 1_000_000
LIBRARIES = Path("/usr/lib")
SHARED_MEMORY = Path("/dev/shm")


def find_library() -> Path | None:
    """Return libfaketime for programs with threads, None where it is not installed."""
    return next(LIBRARIES.glob("*/faketime/libfaketimeMT.so.1"), None)


@dataclass
class MovedClock:
    """Goes as fast as the machine's, so far off as it is told. What measures durations is left alone."""

    library: Path
    file: Path
    ahead_micros: int = 0

    def __post_init__(self) -> None:
        self.put(self())

    def __call__(self) -> int:
        """Return what the process takes for the time, in Unix microseconds."""
        return round(time() * SECOND) + self.ahead_micros

    def put(self, micros: int) -> None:
        """Set the clock to Unix microseconds; the process sees it at once."""
        self.ahead_micros = micros - round(time() * SECOND)
        written = self.file.with_suffix(".new")
        written.write_text(f"{self.ahead_micros / SECOND:+.6f}\n")
        written.replace(self.file)  # at once: the process never reads a part

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process is to be started with."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }


def remove_shared_memory(pid: int) -> None:
    """Take away what the library made for a process that ended; it leaves it where that was killed."""
    for name in ("faketime_shm_", "sem.faketime_sem_"):
        (SHARED_MEMORY / f"{name}{pid}").unlink(missing_ok=True)
