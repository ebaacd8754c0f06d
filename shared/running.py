"""What `python -m services.<name>` does, the same for every service."""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from shared import healthcheck, logs
from shared.config import ServiceSettings, load
from shared.encryption import EncryptedColumn
from shared.reencryption import rotate_keys

S = TypeVar("S", bound=ServiceSettings)


def run(
    settings_class: type[S], package: str, encrypted: EncryptedColumn, serve: Callable[[S], None]
) -> None:
    """Serve, or do what the command line says and end.

    With `migrate`, bring the database of `package` up to date; with `rotate-keys`, encrypt the column
    `encrypted` anew under the first key of the keyring; with `health`, ask the server that runs with the same
    settings whether it serves, and end with code 0 if it does, else with 1.
    """
    command = sys.argv[1:]
    if command not in ([], ["migrate"], ["rotate-keys"], ["health"]):
        sys.exit(f"usage: python -m {package} [migrate | rotate-keys | health]")
    settings = load(settings_class)
    logs.configure(settings.log_level)
    if command == ["migrate"]:
        from shared import migrations  # noqa: PLC0415 - Alembic would take 0.3 s of every start

        migrations.upgrade(settings.database_url, settings.database_schema, package)
        return
    if command == ["rotate-keys"]:
        sys.exit(rotate_keys(settings, encrypted))
    if command == ["health"]:
        healthcheck.end_with_health_of(settings)
    serve(settings)


def unix_micros() -> int:
    """Return the time in Unix microseconds."""
    return time.time_ns() // 1000
