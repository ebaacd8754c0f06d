"""Start programs that die with this process and do not hear the terminal's Ctrl-C."""

import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

NOBODY = 65534  # its id wherever the name is missing


@dataclass(frozen=True)
class Account:
    """An account to run a program as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """Return the account for programs that refuse to run as root, or None if this process is not root."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return Account(NOBODY, NOBODY)
    return Account(nobody.pw_uid, nobody.pw_gid)


def start(
    program: Sequence[str],
    *,
    log: Path | int | None,
    environment: Mapping[str, str],
    death_signal: signal.Signals = signal.SIGTERM,
    account: Account | None = None,
    reach: Sequence[Path] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in its own session, its output in `log`: a file to append to, a descriptor, or None.

    None stands for this terminal. The program gets `death_signal` when the *thread* that started it ends:
    start from one that lives as long as the program should. `account` is whom to run as (needs root), `reach`
    what that account must be able to get to though directories above are closed to it.
    """
    command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("child.py"))]
    command += ["--parent", str(os.getpid()), "--signal", str(int(death_signal))]
    if account is not None:
        command += ["--uid", str(account.uid), "--gid", str(account.gid)]
    for path in reach:
        command += ["--reach", str(path)]
    with output(log) as descriptor:
        return subprocess.Popen(
            [*command, "--", *program],
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            env=dict(environment),
        )


@contextmanager
def output(log: Path | int | None) -> Iterator[int | None]:
    """Yield a descriptor that appends to the file, for its owner alone; what is no path is yielded itself."""
    if not isinstance(log, Path):
        yield log
        return
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def tail(log: Path, lines: int = 20) -> str:
    """Return the last lines of a log, or "" if there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
