"""The append-only log of who changed what; a table `audit_entries` in each service's schema."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from getpass import getuser
from typing import TYPE_CHECKING

import sqlalchemy
from brain.audit.v1 import audit_pb2 as pb
from brain.audit.v1.audit_pb2_grpc import AuditServiceServicer
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import JSONB

from shared.pagination import decode_token, encode_token
from shared.validation import Violations, page_size

if TYPE_CHECKING:
    import grpc

_RECORD = text(
    "INSERT INTO audit_entries (actor, action, subject, details) VALUES (:actor, :action, :subject, :details)"
).bindparams(sqlalchemy.bindparam("details", type_=JSONB))

_LIST = text("""
SELECT entry_id, entry_time, actor, action, subject, details FROM audit_entries
WHERE CAST(:before AS int8) IS NULL OR entry_id < :before ORDER BY entry_id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A change: who made it, what was done, on what, and particulars (no secrets, no people's ids)."""

    actor: str
    action: str
    subject: str
    details: Mapping[str, str | float | bool | None]


def operator() -> str:
    """Return who runs this process: the actor of what no caller asked for, such as commands at a terminal."""
    try:
        return getuser()
    except (KeyError, OSError):  # containers run as numbers that no passwd entry names
        return f"uid {os.getuid()}"


def record(connection: sqlalchemy.Connection, entry: AuditEntry) -> None:
    """Append an entry in the transaction of the change, so that there is never one without the other."""
    connection.execute(
        _RECORD,
        {
            "actor": entry.actor,
            "action": entry.action,
            "subject": entry.subject,
            "details": dict(entry.details),
        },
    )


@dataclass(frozen=True)
class AuditServicer(AuditServiceServicer):
    """Reads the log."""

    engine: sqlalchemy.Engine

    def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: "grpc.ServicerContext"
    ) -> pb.ListAuditEntriesResponse:
        """List entries, newest first."""
        violations = Violations()
        size = page_size(violations, "page_size", request.page_size, default=100, maximum=1000)
        after = decode_token(violations, request, request.page_token, (int,))
        violations.raise_if_any()
        parameters = {"before": after[0] if after else None, "limit": size + 1}
        with self.engine.begin() as connection:
            rows = connection.execute(_LIST, parameters).all()
        entries = [_entry(row) for row in rows[:size]]
        token = encode_token(request, [entries[-1].entry_id]) if len(rows) > size else ""
        return pb.ListAuditEntriesResponse(entries=entries, next_page_token=token)


def _entry(row: "sqlalchemy.Row[tuple[object, ...]]") -> pb.AuditEntry:
    entry_time = Timestamp()
    entry_time.FromDatetime(row.entry_time)
    return pb.AuditEntry(
        entry_id=row.entry_id,
        entry_time=entry_time,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        details=ParseDict(row.details, Struct()),
    )
