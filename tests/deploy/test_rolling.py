"""A rolling restart that cannot go on ends, says why, and leaves the others alone."""

import time
from pathlib import Path

import pytest

from deploy.errors import LaunchError
from deploy.processes import ServiceProcess
from deploy.rolling import RollingRestart
from deploy.settings import Service


def started(tmp_path: Path, module: str, number: int = 1) -> ServiceProcess:
    """A process of a module of Python's that ends at once, whatever it is asked."""
    service = Service("events", "127.0.0.1:1", "127.0.0.1:2", module, number=number)
    process = ServiceProcess(service, tmp_path / f"{number}.log")
    process.start({})
    return process


def carry_out(restart: RollingRestart) -> None:
    deadline = time.monotonic() + 20
    while not restart.step():
        assert time.monotonic() < deadline


def test_a_replica_that_does_not_serve_again_ends_the_restart(tmp_path: Path) -> None:
    first, second = started(tmp_path, "this"), started(tmp_path, "this", number=2)
    restart = RollingRestart([first, second], frozenset())
    with pytest.raises(LaunchError, match=r"(?s)events ended with code 0.*Namespaces are one honking great"):
        carry_out(restart)
    assert restart.current is first
    second.wait()
    assert (tmp_path / "2.log").read_text().count("The Zen of Python") == 1


def test_a_schema_that_cannot_be_migrated_ends_the_restart_before_anything_stops(tmp_path: Path) -> None:
    first = started(tmp_path, "json.tool")
    restart = RollingRestart([first], frozenset({"events"}))
    with pytest.raises(LaunchError, match=r"(?s)schema of events was not migrated.*No such file.*'migrate'"):
        carry_out(restart)
    assert restart.current is None
    first.wait()
