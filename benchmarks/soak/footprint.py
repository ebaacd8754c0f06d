"""What processes hold, as Linux tells: memory, file descriptors, threads."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FIELDS = ("Rss", "Pss", "Private_Clean", "Private_Dirty")
_MODULE = re.compile(r" -m (?:services\.)?(events|experiments|funnels|forecasting|alerts|gateway) ")
_TICKS = os.sysconf("SC_CLK_TCK")
POSTGRESQL, LAUNCHER, LOG_WRITERS = "PostgreSQL", "launcher", "log writers"


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a process holds, or several of them together. Memory in bytes.

    Proportional memory counts a share of what is shared with others; private memory nothing of it. The
    private memory of one process is what can leak.
    """

    resident: int = 0
    proportional: int = 0
    private: int = 0
    descriptors: int = 0
    threads: int = 0
    processes: int = 0
    busy_seconds: float = 0.0  # of a processor, that of ended children included

    def __add__(self, other: "Footprint") -> "Footprint":
        return Footprint(
            self.resident + other.resident,
            self.proportional + other.proportional,
            self.private + other.private,
            self.descriptors + other.descriptors,
            self.threads + other.threads,
            self.processes + other.processes,
            self.busy_seconds + other.busy_seconds,
        )


def of_suite(launcher: int) -> dict[str, Footprint]:
    """Return what each part of the suite holds, by its name, all of PostgreSQL's processes together."""
    found = {LAUNCHER: of_process(launcher)}
    for pid in _descendants(launcher):
        try:
            name = _name(pid)
            found[name] = found.get(name, Footprint()) + of_process(pid)
        except (OSError, IndexError):  # it has just ended
            continue
    return found


def _descendants(ancestor: int) -> Iterator[int]:
    parents = dict(_parents())
    for pid in parents:
        parent = parents.get(pid)
        while parent is not None and parent != ancestor:
            parent = parents.get(parent)
        if parent == ancestor:
            yield pid


def _parents() -> Iterator[tuple[int, int]]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            yield int(process.name), int(_stat(int(process.name))[1])
        except OSError:  # it has just ended
            continue


def _stat(pid: int) -> list[str]:
    """Return the fields behind the name (proc(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _name(pid: int) -> str:
    command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() + " "
    if "postgres" in command:
        return POSTGRESQL
    module = _MODULE.search(command)
    return module[1] if module else LOG_WRITERS


def of_process(pid: int) -> Footprint:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
    resident, proportional, clean, dirty = (sizes.get(field, 0) for field in _FIELDS)
    return Footprint(
        resident=resident,
        proportional=proportional,
        private=clean + dirty,
        descriptors=sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()),
        threads=sum(1 for _ in Path(f"/proc/{pid}/task").iterdir()),
        processes=1,
        busy_seconds=sum(map(int, _stat(pid)[11:15])) / _TICKS,
    )
