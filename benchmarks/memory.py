"""Memory: what a service process holds after a year of a real shop's events, and how long they took."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console

from benchmarks import measuring
from benchmarks.report import Line, per_second
from brain_client import Brain
from examples import online_retail

if TYPE_CHECKING:
    from benchmarks.stack import Stack

DATABASE = "memory"
BAR_MEBIBYTES = 250
_MEBIBYTE = 2**20


def run(stack: "Stack") -> list[Line]:
    """Import the events into a fresh service."""
    stack.create(DATABASE)
    with stack.service(DATABASE) as service, Brain(service.address, service.token) as brain:
        idle = measuring.resident_bytes(service.pid)
        weeks = online_retail.weeks_to_last_week(datetime.now(UTC))
        elapsed = measuring.seconds(lambda: online_retail.import_events(brain, weeks, Console(quiet=True)))
        held = measuring.resident_bytes(service.pid)
        peak = measuring.resident_bytes(service.pid, "VmHWM")
    stack.drop(DATABASE)
    return [
        Line(
            f"resident after {online_retail.LINES:,} events",
            _mebibytes(held),
            f"before them {_mebibytes(idle)}, at most {_mebibytes(peak)}",
            "",
            f"≤ {BAR_MEBIBYTES} MiB",
            held <= BAR_MEBIBYTES * _MEBIBYTE,
        ),
        Line(
            "import",
            f"{elapsed:.1f} s",
            "",
            per_second(online_retail.LINES, elapsed),
            "≤ 20 s",
            elapsed <= 20,
        ),
    ]


def _mebibytes(size: int) -> str:
    return f"{size / _MEBIBYTE:.0f} MiB"
