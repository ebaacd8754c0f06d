"""Event ids of log records that carry none: the same for the same record, however often it is exported."""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from services.events.ingest.event_ids import hashed_id

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord


@dataclass(frozen=True, slots=True)
class RecordIds:
    """The ids of one export.

    An id is the hash of all that is known of a record: its resource, its scope, and itself with its times in
    nanoseconds. Not of its place, which is another once somebody on the way has divided or joined exports.
    Records that are equal in everything are told apart by their number among those of the export.
    """

    _equal: Counter[str] = field(default_factory=Counter)

    def next_id(self, origin: bytes, record: "LogRecord") -> str:
        """Return a record's id; `origin` is the digests of its resource and scope."""
        content = origin + record.SerializeToString()  # of one content always the same: it holds no maps
        record_id = hashed_id(content)
        number = self._equal[record_id]
        self._equal[record_id] = number + 1
        return hashed_id(content + number.to_bytes(8)) if number else record_id


def digest_of(message: "Message") -> bytes:
    """Return a digest of a message."""
    return blake2b(message.SerializeToString(), digest_size=32).digest()
