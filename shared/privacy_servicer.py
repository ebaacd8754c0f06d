"""PrivacyService, the same on the wire for every service that holds something about people."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from brain.privacy.v1 import privacy_pb2 as pb
from brain.privacy.v1.privacy_pb2_grpc import PrivacyServiceServicer

from shared.calendar import HOUR_MICROS, MICROS
from shared.calls import current_caller
from shared.pagination import decode_token, encode_token
from shared.timestamps import from_micros
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone
from shared.validation import Violations, chosen, instant, page_size

if TYPE_CHECKING:
    from pathlib import Path

    import grpc
    from brain.events.v1.events_pb2 import UserReference

_log = logging.getLogger(__name__)

_MODES = {
    pb.ERASURE_MODE_ERASE: ErasureMode.ERASE,
    pb.ERASURE_MODE_ANONYMIZE: ErasureMode.ANONYMIZE,
}
_MODE_NUMBERS = {mode: number for number, mode in _MODES.items()}
_MAXIMUM_TOMBSTONES = 10_000
_EARLIEST = 946_684_800 * MICROS  # 2000-01-01
_AHEAD = 24 * HOUR_MICROS
_DIGEST_BYTES = 16


# Somebody, as the service knows people.
Who = TypeVar("Who")
W_contra = TypeVar("W_contra", contravariant=True)


class Exporter(Protocol[W_contra]):
    """Reads all a service holds of a person."""

    def export(self, who: W_contra) -> Iterator[list[str]]:
        """Yield lines of JSON, some at a time."""


class Eraser(Protocol[W_contra]):
    """Makes what a service holds of a person go away, and remembers that it did."""

    @property
    def clock(self) -> Callable[[], int]:
        """Return what tells the time in Unix microseconds."""

    def erase(self, who: W_contra, mode: ErasureMode, actor: str) -> Receipt:
        """Erase somebody."""

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many said anything new, and how many ids went."""


AnyEraser = TypeVar("AnyEraser", bound=Eraser[Any])


def retelling(
    path: "Path | None", service: str, make: "Callable[[Journal | None], AnyEraser]"
) -> "AnyEraser":
    """Return what erases people, once it has erased again whom a restored database holds.

    `path` is the journal of erasures, if there is one; `service` is noted as who erased them again.
    """
    journal = None if path is None else Journal(path)
    eraser = make(journal)
    if journal is not None:
        applied, ids = eraser.apply(journal.read(), service)
        if applied:
            _log.info("erased again", extra={"tombstones": applied, "ids": ids})
    return eraser


@dataclass(frozen=True)
class PrivacyServicer(PrivacyServiceServicer, Generic[Who]):
    """Exports and erases; `read_who` reads a person off the wire and adds what is wrong with them."""

    read_who: "Callable[[Violations, str, UserReference], Who]"
    exporter: Exporter[Who]
    eraser: Eraser[Who]

    def ExportUser(
        self, request: pb.ExportUserRequest, context: "grpc.ServicerContext"
    ) -> "Iterator[pb.ExportUserResponse]":
        """Streams everything held."""
        violations = Violations()
        who = self.read_who(violations, "user", request.user)
        violations.raise_if_any()
        for lines in self.exporter.export(who):
            yield pb.ExportUserResponse(json_lines=lines)

    def EraseUser(
        self, request: pb.EraseUserRequest, context: "grpc.ServicerContext"
    ) -> pb.EraseUserResponse:
        """Erase a person."""
        violations = Violations()
        who = self.read_who(violations, "user", request.user)
        mode = chosen(violations, "mode", request.mode, _MODES)
        violations.raise_if_any()
        receipt = self.eraser.erase(who, mode, current_caller().subject)
        return pb.EraseUserResponse(
            erased_time=from_micros(receipt.erased),
            touched_tables=[pb.TouchedTable(table=name, rows=rows) for name, rows in receipt.rows.items()],
        )

    def ListTombstones(
        self, request: pb.ListTombstonesRequest, context: "grpc.ServicerContext"
    ) -> pb.ListTombstonesResponse:
        """List who was erased."""
        violations = Violations()
        limit = page_size(
            violations, "page_size", request.page_size, default=1_000, maximum=_MAXIMUM_TOMBSTONES
        )
        position = decode_token(violations, request, request.page_token, (int, int))
        violations.raise_if_any()
        after = b"" if position is None else _from_words(position)
        found = self.eraser.buried(after, limit + 1)
        page = found[:limit]
        token = encode_token(request, _words(page[-1].who_digest)) if len(found) > limit else ""
        return pb.ListTombstonesResponse(tombstones=list(map(_message, page)), next_page_token=token)

    def ApplyTombstones(
        self, request: pb.ApplyTombstonesRequest, context: "grpc.ServicerContext"
    ) -> pb.ApplyTombstonesResponse:
        """Erase whom they name."""
        violations = Violations()
        if not 1 <= len(request.tombstones) <= _MAXIMUM_TOMBSTONES:
            violations.add("tombstones", f"must be 1 to {_MAXIMUM_TOMBSTONES:,}")
        latest = self.eraser.clock() + _AHEAD
        tombstones = [
            _tombstone(violations, f"tombstones[{index}]", each, latest)
            for index, each in enumerate(request.tombstones)
        ]
        violations.raise_if_any()
        applied, erased = self.eraser.apply(tombstones, current_caller().subject)
        return pb.ApplyTombstonesResponse(applied=applied, erased_ids=erased)


def _tombstone(violations: Violations, field: str, message: pb.Tombstone, latest: int) -> Tombstone:
    if len(message.who_digest) != _DIGEST_BYTES:
        violations.add(f"{field}.who_digest", f"must have {_DIGEST_BYTES} bytes")
    erased = None
    if message.HasField("erased_time"):
        erased = instant(violations, f"{field}.erased_time", message.erased_time)
    else:
        violations.add(f"{field}.erased_time", "is required")
    if erased is not None and not _EARLIEST <= erased <= latest:
        violations.add(f"{field}.erased_time", "must lie between 2000-01-01 and 24 hours from now")
    mode = chosen(violations, f"{field}.mode", message.mode, _MODES)
    return Tombstone(message.who_digest, erased or 0, mode)


def _message(tombstone: Tombstone) -> pb.Tombstone:
    return pb.Tombstone(
        who_digest=tombstone.who_digest,
        erased_time=from_micros(tombstone.erased),
        mode=_MODE_NUMBERS[tombstone.mode],
    )


def _words(digest: bytes) -> list[int | str | None]:
    """Return a digest as what a page token may hold."""
    return [int.from_bytes(digest[start : start + 8], "big", signed=True) for start in (0, 8)]


def _from_words(position: "list[str | int | None]") -> bytes:
    return b"".join(word.to_bytes(8, "big", signed=True) for word in position if isinstance(word, int))
