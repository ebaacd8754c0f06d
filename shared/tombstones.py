"""What is remembered of erased people; the journal, a file outside the database, tells a restored one."""

import errno
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_log = logging.getLogger(__name__)


class ErasureMode(IntEnum):
    """How much remains, as stored."""

    ERASE = 1
    ANONYMIZE = 2


@dataclass(frozen=True, slots=True)
class Tombstone:
    """Who was erased (a keyed hash), up to which Unix µs what they did is refused, and how."""

    who_digest: bytes
    erased: int
    mode: ErasureMode


@dataclass(frozen=True, slots=True)
class Receipt:
    """The moment of an erasure in Unix µs, and the rows that were touched by table."""

    erased: int
    rows: dict[str, int]


class Journal:
    """A file that only grows. Every replica of one machine may write the same one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, tombstones: Sequence[Tombstone]) -> None:
        """Write and flush to disk; an erasure whose transaction then fails is applied at the next start.

        Raises OSError where not all of it fits on the disk.
        """
        lines = "".join(
            json.dumps({"who_digest": each.who_digest.hex(), "erased": each.erased, "mode": each.mode}) + "\n"
            for each in tombstones
        )
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # In one piece, behind whatever a crash may have left unfinished.
            whole = f"\n{lines}".encode()
            if os.write(descriptor, whole) < len(whole):  # as a disk that becomes full does
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def read(self) -> list[Tombstone]:
        """Return everything that was written whole."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(errors="replace").split("\n")
        return [tombstone for line in lines if line and (tombstone := _parse(line)) is not None]


def _parse(line: str) -> Tombstone | None:
    try:
        record = json.loads(line)
        return Tombstone(
            bytes.fromhex(record["who_digest"]), int(record["erased"]), ErasureMode(record["mode"])
        )
    except (ValueError, KeyError, TypeError):
        _log.warning("a line of the journal of erasures was not written whole")
        return None
