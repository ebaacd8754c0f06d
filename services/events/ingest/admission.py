"""Whether events may be taken in: not while the disk is nearly full."""

import shutil
from pathlib import Path
from time import monotonic

from shared.errors import ResourceExhausted

CHECK_SECONDS = 1.0


class DiskGuard:
    """Refuses events while less than a minimum is free.

    A full disk of tables is an error to PostgreSQL; a full disk of WAL stops it.
    """

    def __init__(self, path: Path | None, minimum_free_bytes: int) -> None:
        self._path = path
        self._minimum = minimum_free_bytes
        self._checked = float("-inf")
        self._free = 0

    def admit(self) -> None:
        """Raise ResourceExhausted while the disk is too full; looks once a second."""
        if self._path is None:
            return
        now = monotonic()
        if now - self._checked > CHECK_SECONDS:
            self._free = shutil.disk_usage(self._path).free
            self._checked = now
        if self._free < self._minimum:
            raise ResourceExhausted("the database's disk is nearly full", "DISK_FULL", retry_seconds=10)
