"""Whether events may be taken in: not while the disk is nearly full, nor beyond their sender's quota."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from shared.calls import current_caller
from shared.errors import FieldViolation, InvalidArgument, ResourceExhausted

if TYPE_CHECKING:
    from shared.quotas import Quotas

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


@dataclass(frozen=True)
class Admission:
    """What a request must pass before its events are read."""

    guard: DiskGuard
    quotas: "Quotas"
    default_per_minute: int  # 0: any number

    def admit(self, events: int) -> None:
        """Raise unless the caller may send so many events now.

        Raises:
            InvalidArgument: more at once than the caller may send in a whole minute.
            ResourceExhausted: the disk is nearly full, or the caller's quota is used up for the moment.

        """
        self.guard.admit()
        caller = current_caller()
        per_minute = caller.events_per_minute or self.default_per_minute
        if not per_minute:
            return
        if events > per_minute:
            reason = f"{events:,} events at once are more than the {per_minute:,} a minute of this token"
            raise InvalidArgument([FieldViolation("events", f"{reason}: send smaller batches")])
        wait = self.quotas.take(caller.subject, per_minute, events, monotonic())
        if wait:
            message = f"this token may send {per_minute:,} events a minute"
            raise ResourceExhausted(message, "QUOTA_EXCEEDED", retry_seconds=wait)
