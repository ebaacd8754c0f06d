"""Demo: what `make demo` does once everything is installed, from nothing and a second time."""

import shutil
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import measuring
from benchmarks.report import Line
from deploy import children
from deploy.local import start_demo
from deploy.settings import LocalSettings
from deploy.suite import Suite

if TYPE_CHECKING:
    from benchmarks.stack import Stack

FIRST_SECONDS = 60
SECOND_SECONDS = 5


def run(stack: "Stack") -> list[Line]:
    """Start the suite, import and ask, stop; then start it again."""
    directory = stack.directory / "demo"
    first, answered = _once(directory, answer=True)
    second, _ = _once(directory, answer=False)
    shutil.rmtree(directory)
    whole = first + answered
    return [
        Line("start on an empty directory", f"{first:.1f} s"),
        Line("import and first answers", f"{answered:.1f} s"),
        Line("both", f"{whole:.1f} s", "", "", f"≤ {FIRST_SECONDS} s", whole <= FIRST_SECONDS),
        Line("second start", f"{second:.1f} s", "", "", f"< {SECOND_SECONDS} s", second < SECOND_SECONDS),
    ]


def _once(directory: Path, *, answer: bool) -> tuple[float, float]:
    """Return how long the start took and, if asked for, import and first answers."""
    ports = _free_ports()
    settings = LocalSettings(
        directory=directory,
        events_port=ports[0],
        events_metrics_port=ports[1],
        gateway_port=ports[2],
        gateway_metrics_port=ports[3],
        experiments_port=ports[4],
        experiments_metrics_port=ports[5],
        experiments_flagd_port=ports[6],
        funnels_port=ports[7],
        funnels_metrics_port=ports[8],
        alerts_port=ports[9],
        alerts_metrics_port=ports[10],
        forecasting_port=ports[11],
        forecasting_metrics_port=ports[12],
    )
    suite = Suite(settings, lambda: False)
    try:
        started = measuring.seconds(suite.start)
        answered = measuring.seconds(lambda: _answer(suite)) if answer else 0.0
    finally:
        suite.stop()
    return started, answered


def _answer(suite: Suite) -> None:
    log = suite.directory / "demo.log"
    process = start_demo(suite, log)
    if process.wait():
        raise RuntimeError(f"the demonstration ended with code {process.returncode}:\n{children.tail(log)}")


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(closing(socket.create_server(("127.0.0.1", 0)))) for _ in range(13)]
        return [int(probe.getsockname()[1]) for probe in probes]
