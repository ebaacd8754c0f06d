"""What `python -m services.<name>` does, the same for every service."""

import gc
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from shared import healthcheck, logs
from shared.config import ServiceSettings, load
from shared.encryption import EncryptedColumn
from shared.errors import ServiceError
from shared.reencryption import rotate_keys

S = TypeVar("S", bound=ServiceSettings)

Command = Callable[[S, Sequence[str]], None]

# A call passes between threads half a dozen times, and while others compute, each time waits until the
# interpreter is given up: Python's 5 ms add up to what single calls took beside batches, 36 ms for one in a
# hundred. With 1 ms it was 13 ms, and the batches took 6 % longer.
_SWITCH_SECONDS: Final = 0.001


class Stoppable(Protocol):
    """A running service."""

    def stop(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class Program(Generic[S]):
    """A service as its command line knows it; `package` is "services.events" or the like."""

    package: str
    settings_class: type[S]
    # Starts the calls, and nothing beside them.
    start: Callable[[S, Callable[[], int]], Stoppable]
    # Serves until told to stop.
    serve: Callable[[S], None]
    # Where it keeps who people are.
    encrypted: EncryptedColumn
    # What this service alone can do, with the words behind the command's name.
    commands: Mapping[str, Command[S]] = field(default_factory=dict)


def run(program: Program[S]) -> None:
    """Serve, or do what the command line says and end: with code 1 and a message where that failed.

    `migrate` brings the database up to date. `rotate-keys` encrypts ids anew under the first key of the
    keyring. `forget FILE` erases again whom a journal of erasures names, as after a restore. `health` asks
    the server that runs with the same settings whether it serves: code 0 says that it does, 1 that not.
    """
    known: Mapping[str, Command[S]] = {
        "migrate": lambda settings, _: _migrate(settings, program.package),
        "rotate-keys": lambda settings, _: sys.exit(rotate_keys(settings, program.encrypted)),
        "forget": lambda settings, words: _forget(settings, words, program),
        "health": lambda settings, _: healthcheck.end_with_health_of(settings),
        **program.commands,
    }
    name, *words = sys.argv[1:] or [""]
    if name and (name not in known or len(words) > 1):
        sys.exit(f"usage: python -m {program.package} [{' | '.join(known)}]")
    settings = load(program.settings_class)
    logs.configure(settings.log_level)
    try:
        if name:
            known[name](settings, words)
        else:
            sys.setswitchinterval(_SWITCH_SECONDS)
            # What is there now stays: 100,000 objects that the collector would look through for 0.1 s, and
            # that would let it wait until a quarter as many are garbage.
            gc.freeze()
            program.serve(settings)
    except ServiceError as error:
        sys.exit(error.message)


def _migrate(settings: ServiceSettings, package: str) -> None:
    from shared import migrations  # noqa: PLC0415 - Alembic would take 0.3 s of every start

    migrations.upgrade(settings.database_url, settings.database_schema, package)


def _forget(settings: S, words: Sequence[str], program: Program[S]) -> None:
    """Erase whom a journal names: a service that starts with it does so before it answers anybody."""
    journal = Path(words[0]) if words else None
    if journal is None or not journal.is_file():
        sys.exit(f"{journal or 'nothing'} is no journal of erasures: python -m {program.package} forget FILE")
    changed = {**_UNREACHABLE, "erasure_journal": journal}
    program.start(settings.model_copy(update=changed), unix_micros).stop()


_UNREACHABLE: Final = {"address": "127.0.0.1:0", "metrics_address": "127.0.0.1:0"}


def unix_micros() -> int:
    """Return the time in Unix microseconds."""
    return time.time_ns() // 1000
