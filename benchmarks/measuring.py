"""Measuring: medians, the processor time of processes, and which machine this is."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_TICKS = os.sysconf("SC_CLK_TCK")
# Fields of /proc/PID/stat behind the name: parent, processor time of itself, of children it waited for.
_PARENT, _OWN, _ENDED = 1, slice(11, 13), slice(13, 15)


def medians(calls: Sequence[Callable[[], object]], repetitions: int, run_length: int = 10) -> list[float]:
    """Return the median time that each call takes.

    They are called by turns, a run of each: what disturbs the machine for a while disturbs all, and none
    begins most of its calls with the caches as another left them.
    """
    times: list[list[float]] = [[] for _ in calls]
    for start in range(0, repetitions, run_length):
        for call, taken in zip(calls, times, strict=True):
            call()
            taken += [seconds(call) for _ in range(min(run_length, repetitions - start))]
    return [median(taken) for taken in times]


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@dataclass(frozen=True)
class Cost:
    """Elapsed seconds, and processor seconds of the service, of PostgreSQL and of this process."""

    elapsed: float
    service: float
    postgres: float
    client: float


def cost(call: Callable[[], object], service_pid: int, postgres_pid: int) -> Cost:
    """Return what a call costs, here and in two other processes and their children."""

    def clocks() -> tuple[float, float, float, float]:
        return time.perf_counter(), cpu_seconds(service_pid), cpu_seconds(postgres_pid), time.process_time()

    before = clocks()
    call()
    return Cost(*(after - first for after, first in zip(clocks(), before, strict=True)))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process and its children, ended ones included; 0 for pid 0."""
    if not pid:
        return 0.0
    fields = _stat(Path(f"/proc/{pid}"))
    total = _sum(fields, _OWN) + _sum(fields, _ENDED)
    for process in Path("/proc").glob("[0-9]*"):
        child = _stat(process)
        if child and int(child[_PARENT]) == pid:
            total += _sum(child, _OWN)
    return total / _TICKS


def _stat(process: Path) -> list[str]:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has just ended
        return []


def _sum(fields: list[str], which: slice) -> int:
    return sum(map(int, fields[which]))


def resident_bytes(pid: int, field: str = "VmRSS") -> int:
    """Return the resident memory of a process; with VmHWM its peak."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"{field} of {pid}")


def machine() -> str:
    """Name the machine."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    gibibytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return (
        f"{os.cpu_count()} processors {model}, {gibibytes:.0f} GiB, Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )
