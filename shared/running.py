"""What `python -m services.<name>` does, the same for every service."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from shared import logs
from shared.config import ServiceSettings, load

S = TypeVar("S", bound=ServiceSettings)


class Stoppable(Protocol):
    """A running service."""

    def stop(self) -> None:
        """Let go of everything."""


def run(
    settings_class: type[S],
    package: str,
    serve: Callable[[S], None],
    start: Callable[[S, Callable[[], int]], Stoppable],
) -> None:
    """Serve, or do what the command line says and end.

    With `migrate`, bring the database of `package` up to date; with `forget FILE`, erase again whom a journal
    of erasures names, as after a restore. `start` starts the service's calls, and nothing beside them.
    """
    settings = load(settings_class)
    logs.configure(settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        from shared import migrations  # noqa: PLC0415 - Alembic would take 0.3 s of every start

        migrations.upgrade(settings.database_url, settings.database_schema, package)
        return
    if sys.argv[1:2] == ["forget"]:
        [path] = map(Path, sys.argv[2:])
        forget(settings, path, start)
        return
    serve(settings)


def forget(settings: S, journal: Path, start: Callable[[S, Callable[[], int]], Stoppable]) -> None:
    """Erase whom a journal names: a service that starts with it does so before it answers anybody."""
    if not journal.is_file():
        sys.exit(f"{journal} is no journal of erasures")
    unreachable = {"address": "127.0.0.1:0", "metrics_address": "127.0.0.1:0"}
    start(settings.model_copy(update={**unreachable, "erasure_journal": journal}), unix_micros).stop()


def unix_micros() -> int:
    """Return the time in Unix microseconds."""
    return time.time_ns() // 1000
