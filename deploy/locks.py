"""Locks that end with the process which holds them."""

import fcntl
import os
from pathlib import Path

from deploy.errors import LaunchError


def take(path: Path, what: str) -> int:
    """Take the lock of `path` for this process and return its open descriptor; close that to let go.

    Raises LaunchError, naming `what` and the process that holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode().strip() or "unknown"
        os.close(descriptor)
        raise LaunchError(f"{what} already runs, started by process {holder} (lock {path})") from None
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def holder(path: Path) -> int | None:
    """Return the process that holds the lock of `path`; None if nobody does."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return int(os.read(descriptor, 20).decode())
    finally:
        os.close(descriptor)
    return None
