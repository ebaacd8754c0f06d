"""What `python -m services.<name>` does, the same for every service."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from shared import logs
from shared.config import ServiceSettings, load
from shared.errors import ServiceError

S = TypeVar("S", bound=ServiceSettings)


def run(
    settings_class: type[S],
    package: str,
    serve: Callable[[S], None],
    commands: Mapping[str, Callable[[S, Sequence[str]], None]] | None = None,
) -> None:
    """Serve; with `migrate` on the command line, bring the database of `package` up to date and end.

    With one of `commands` do that, with the words behind it, and end: with code 1 and its message on stderr
    where it raises ServiceError.
    """
    settings = load(settings_class)
    logs.configure(settings.log_level)
    if sys.argv[1:] == ["migrate"]:
        from shared import migrations  # noqa: PLC0415 - Alembic would take 0.3 s of every start

        migrations.upgrade(settings.database_url, settings.database_schema, package)
        return
    name, *words = sys.argv[1:] or [""]
    if commands and name in commands:
        try:
            commands[name](settings, words)
        except ServiceError as error:
            sys.exit(error.message)
        return
    serve(settings)


def unix_micros() -> int:
    """Return the time in Unix microseconds."""
    return time.time_ns() // 1000
