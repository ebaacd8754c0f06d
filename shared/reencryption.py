"""Moves what older keys encrypted to the current key, so that the older ones can be thrown away.

In small transactions, beside running services. What was done stays done: whoever is interrupted begins again
and finds less to do.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from shared import audit
from shared.audit import AuditEntry
from shared.database import driver_cursor, open_engine
from shared.encryption import DecryptionError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from shared.config import ServiceSettings
    from shared.encryption import EncryptedColumn, Keyring

_logger = logging.getLogger(__name__)

_ROWS_AT_ONCE = 2_000
_TOLD_EVERY = 100_000

_LAST_OF_PAGE = """
SELECT max({key}) FROM (
    SELECT {key} FROM {table} WHERE {key} > %(after)s ORDER BY {key} LIMIT %(rows)s
) AS page
"""

# The first byte of a ciphertext is the id of its key. Locked, so that nobody gives a row another meaning
# before it is written; those who only refer to a row are not held up.
_OLD = """
SELECT {key}, {associated}, {encrypted} FROM {table}
WHERE {key} > %(after)s AND {key} <= %(until)s AND substr({encrypted}, 1, 1) <> %(current)s::bytea
ORDER BY {key} FOR NO KEY UPDATE
"""

_REPLACE = """
UPDATE {table} SET {encrypted} = made.encrypted
FROM unnest(%(keys)s::int8[], %(made)s::bytea[]) AS made (key, encrypted) WHERE {table}.{key} = made.key
"""

_REMAINING = "SELECT count(*) FROM {table} WHERE substr({encrypted}, 1, 1) <> %(current)s::bytea"


@dataclass(frozen=True, slots=True)
class Page:
    """What became of some rows: encrypted anew, or left as they are since no key at hand reads them."""

    reencrypted: int
    unreadable: int


@dataclass(frozen=True)
class Rotation:
    """Encrypts one column anew under the keyring's current key."""

    engine: "Engine"
    keyring: "Keyring"
    column: "EncryptedColumn"
    rows_at_once: int = _ROWS_AT_ONCE

    def pages(self) -> Iterator[Page]:
        """Go through all rows by their key, a transaction for each page; yield what is committed."""
        after = -1
        while True:
            with self.engine.begin() as connection, driver_cursor(connection) as cursor:
                where = {"after": after, "rows": self.rows_at_once, "current": self._current}
                [until] = cursor.execute(self._named(_LAST_OF_PAGE), where).fetchone() or [None]
                if until is None:
                    return
                old = cursor.execute(self._named(_OLD), {**where, "until": until}).fetchall()
                made = {key: self._anew(associated, encrypted) for key, associated, encrypted in old}
                written = {key: encrypted for key, encrypted in made.items() if encrypted is not None}
                replaced = {"keys": list(written), "made": list(written.values())}
                cursor.execute(self._named(_REPLACE), replaced)
            after = until
            yield Page(len(written), len(made) - len(written))

    def remaining(self) -> int:
        """Count the rows that another key encrypted."""
        with self.engine.begin() as connection, driver_cursor(connection) as cursor:
            [found] = cursor.execute(self._named(_REMAINING), {"current": self._current}).fetchone() or [0]
            return int(found)

    def record(self, details: dict[str, str | float | bool | None]) -> None:
        """Note in the audit log what was done."""
        what = f"{self.column.table}.{self.column.encrypted}"
        with self.engine.begin() as connection:
            audit.record(connection, AuditEntry(audit.operator(), "rotate-keys", what, details))

    @property
    def _current(self) -> bytes:
        return bytes((self.keyring.current_id,))

    def _named(self, statement: str) -> sql.Composed:
        column = self.column
        names = (column.table, column.key, column.associated, column.encrypted)
        table, key, associated, encrypted = map(sql.Identifier, names)
        return sql.SQL(statement).format(table=table, key=key, associated=associated, encrypted=encrypted)

    def _anew(self, associated: bytes, encrypted: bytes) -> bytes | None:
        try:
            return self.keyring.encrypt(self.keyring.decrypt(encrypted, associated), associated)
        except DecryptionError:
            return None


def rotate_keys(settings: "ServiceSettings", column: "EncryptedColumn") -> int:
    """Encrypt everything anew and say what came of it; return 0 where no other key is needed now, else 1."""
    with ExitStack() as opened:
        rotation = Rotation(open_engine(settings, 1, opened), settings.keyring, column)
        key_id = settings.keyring.current_id
        rotation.record({"key_id": key_id, "done": False})
        reencrypted = unreadable = 0
        for page in rotation.pages():
            if (reencrypted + page.reencrypted) // _TOLD_EVERY > reencrypted // _TOLD_EVERY:
                _logger.info("keys are being rotated", extra={"rows": reencrypted + page.reencrypted})
            reencrypted += page.reencrypted
            unreadable += page.unreadable
        remaining = rotation.remaining()
        rotation.record({"key_id": key_id, "done": True, "reencrypted": reencrypted, "remaining": remaining})
    sys.stdout.write(_summary(column, key_id, reencrypted, unreadable, remaining))
    return 0 if remaining == 0 else 1


def _summary(
    column: "EncryptedColumn", key_id: int, reencrypted: int, unreadable: int, remaining: int
) -> str:
    done = f"{column.table}: {reencrypted:,} rows encrypted anew under key {key_id}, {remaining:,} remain"
    if unreadable:
        return f"{done}.\nNo key of this keyring reads {unreadable:,} of them: keep the keys that do.\n"
    if remaining:
        return f"{done}.\nSome replica encrypts with another key: restart it with this keyring, run again.\n"
    return f"{done}. Older keys may go.\n"
