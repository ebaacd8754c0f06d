"""People as alerts know them: by the address they are told at; what PrivacyService reads and erases."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from brain.events.v1.events_pb2 import USER_KIND_ANONYMOUS, USER_KIND_SESSION, USER_KIND_USER
from sqlalchemy import text

from services.alerts.store.recipients import RecipientStore
from shared import audit, tombstone_table
from shared.audit import AuditEntry
from shared.database import driver_cursor
from shared.tombstones import ErasureMode, Journal, Receipt, Tombstone
from shared.validation import Violations, chosen
from shared.validation import text as checked

if TYPE_CHECKING:
    from brain.events.v1.events_pb2 import UserReference
    from sqlalchemy import Connection, Engine

_MAXIMUM_ADDRESS = 2_000
# Nothing is held of visitors and sessions.
_IS_ADDRESS = {USER_KIND_USER: True, USER_KIND_ANONYMOUS: False, USER_KIND_SESSION: False}
_PAGE = 1_000

_RECIPIENTS = text("""
SELECT r.recipient_id, r.channel, array_agg(a.alert_id ORDER BY a.alert_id)
    FILTER (WHERE a.alert_id IS NOT NULL) AS alert_ids
FROM recipients r LEFT JOIN alert_recipients ar USING (recipient_id) LEFT JOIN alerts a USING (alert_key)
WHERE r.address_hash = :digest GROUP BY r.recipient_id, r.channel ORDER BY r.channel
""")

_DELIVERIES = text("""
SELECT o.delivery_id, a.alert_id, o.kind, o.channel, o.status, o.created_time, o.finished_time
FROM outbox o JOIN alerts a USING (alert_key) JOIN recipients r USING (recipient_id)
WHERE r.address_hash = :digest AND o.delivery_id > :after ORDER BY o.delivery_id LIMIT :limit
""")

# In this order: recipients last, so that what names them goes first.
_ERASE: Mapping[ErasureMode, Mapping[str, str]] = {
    ErasureMode.ERASE: {
        "outbox": """DELETE FROM outbox o USING recipients r
            WHERE r.recipient_id = o.recipient_id AND r.address_hash = :digest""",
        "alert_recipients": """DELETE FROM alert_recipients a USING recipients r
            WHERE r.recipient_id = a.recipient_id AND r.address_hash = :digest""",
        "recipients": "DELETE FROM recipients WHERE address_hash = :digest",
    },
    # What was told stays in the ledger, and to nobody.
    ErasureMode.ANONYMIZE: {
        "outbox": """UPDATE outbox o SET recipient_id = NULL FROM recipients r
            WHERE r.recipient_id = o.recipient_id AND r.address_hash = :digest""",
        "alert_recipients": """DELETE FROM alert_recipients a USING recipients r
            WHERE r.recipient_id = a.recipient_id AND r.address_hash = :digest""",
        "recipients": "DELETE FROM recipients WHERE address_hash = :digest",
    },
}


def read_who(violations: Violations, field: str, reference: "UserReference") -> str | None:
    """Return the address that a user id stands for here, None for other ids; add what is wrong with it."""
    address = checked(violations, f"{field}.id", reference.id, maximum=_MAXIMUM_ADDRESS)
    return address if chosen(violations, f"{field}.kind", reference.kind, _IS_ADDRESS) else None


@dataclass(frozen=True)
class People:
    """Exports and erases."""

    engine: "Engine"
    recipients: RecipientStore
    journal: Journal | None
    clock: Callable[[], int]

    def export(self, who: str | None) -> Iterator[list[str]]:
        """Yield everything held about an address."""
        if who is None:
            return
        digest = self.recipients.digest(who)
        with self.engine.begin() as connection:
            rows = connection.execute(_RECIPIENTS, {"digest": digest}).all()
        if rows:
            yield [_line("recipients", address=who, **row._asdict()) for row in rows]
        after = 0
        while True:
            parameters = {"digest": digest, "after": after, "limit": _PAGE}
            with self.engine.begin() as connection:
                page = connection.execute(_DELIVERIES, parameters).all()
            if not page:
                return
            yield [_line("outbox", **row._asdict()) for row in page]
            after = page[-1].delivery_id

    def erase(self, who: str | None, mode: ErasureMode, actor: str) -> Receipt:
        """Erase an address: nobody is told there any more."""
        if who is None:
            return Receipt(self.clock(), dict.fromkeys(_ERASE[mode], 0))
        tombstone = Tombstone(self.recipients.digest(who), self.clock(), mode)
        with self.engine.begin() as connection:
            rows = self._bury(connection, tombstone)
            # The log says that it happened, and not to whom.
            audit.record(connection, AuditEntry(actor, "EraseUser", "a person", {"mode": mode.name.lower()}))
            if self.journal is not None:
                self.journal.append([tombstone])
        return Receipt(tombstone.erased, rows)

    def buried(self, after: bytes, limit: int) -> list[Tombstone]:
        """Return tombstones behind a digest, in order."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            return tombstone_table.buried(cursor, after, limit)

    def apply(self, tombstones: Sequence[Tombstone], actor: str) -> tuple[int, int]:
        """Erase whom tombstones name; return how many said anything new, and how many addresses went."""
        applied = erased = 0
        with self.engine.begin() as connection:
            for tombstone in tombstones:
                rows = self._bury(connection, tombstone)
                applied += rows.get("tombstones", 0)
                erased += rows["recipients"]
            if applied:
                audit.record(connection, AuditEntry(actor, "ApplyTombstones", "people", {"applied": applied}))
        return applied, erased

    def _bury(self, connection: "Connection", tombstone: Tombstone) -> dict[str, int]:
        with driver_cursor(connection) as cursor:
            news = tombstone_table.news(cursor, [tombstone])
            if not news:
                return {"tombstones": 0, "recipients": 0}
            tombstone_table.bury(cursor, news)
        digest = {"digest": tombstone.who_digest}
        rows = {
            table: connection.execute(text(statement), digest).rowcount
            for table, statement in _ERASE[tombstone.mode].items()
        }
        return rows | {"tombstones": len(news)}


def _line(table: str, **fields: Any) -> str:  # noqa: ANN401 - JSON
    return json.dumps({"table": table, **fields}, default=str)
