"""Append standard input to a log, which is moved to `….1` before it would outgrow its limit.

    python -I -S rotate.py log bytes <pipe

A process of its own between a service and its log, so that no line is lost whoever dies: it ends when the
last writer has, and after it has written everything. One older log is kept.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

PIECE = 64 * 1024


def main() -> None:
    """Copy until the input ends."""
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)  # its writers decide when it ends
    log, limit = Path(sys.argv[1]), int(sys.argv[2])
    rest = b""
    while piece := os.read(sys.stdin.fileno(), PIECE):
        lines, newline, rest = (rest + piece).rpartition(b"\n")
        append(log, lines + newline, limit)
        if len(rest) > PIECE:  # no line of ours
            append(log, rest, limit)
            rest = b""
    append(log, rest, limit)


def append(log: Path, lines: bytes, limit: int) -> None:
    """Write whole lines for the owner alone."""
    # On a full disk these lines are lost: to end would break the pipe under the service.
    with suppress(OSError):
        if log.exists() and log.stat().st_size + len(lines) > limit:
            log.rename(log.with_name(log.name + ".1"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(lines)


if __name__ == "__main__":
    main()
