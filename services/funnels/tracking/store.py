"""Step records: what people were recorded to have done, as it is kept."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import psycopg
from numpy.typing import NDArray

from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.errors import Aborted
from shared.people import UserDictionary
from shared.who import Who

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

# PostgreSQL counts microseconds from 2000-01-01.
_POSTGRES_EPOCH_MICROS = 946_684_800_000_000

_BURIED = """
SELECT wanted.position, tombstones.erased_time >= wanted.step_time
FROM unnest(%(digests)s::bytea[], %(times)s::timestamptz[]) WITH ORDINALITY
     AS wanted(who_digest, step_time, position)
JOIN tombstones ON tombstones.who_digest = wanted.who_digest
"""

# People who were erased since they were looked for have no key, or a tombstone.
_ADD = """
WITH wanted AS (
    SELECT w.*, u.user_key FROM unnest(%(funnels)s::int4[], %(steps)s::int2[], %(kinds)s::int2[],
        %(hashes)s::bytea[], %(digests)s::bytea[], %(times)s::timestamptz[]) WITH ORDINALITY
        AS w(funnel_number, step, kind, who_hash, who_digest, step_time, position)
    JOIN users u ON u.kind = w.kind AND u.who_hash = w.who_hash
    WHERE NOT EXISTS (SELECT FROM tombstones t
                      WHERE t.who_digest = w.who_digest AND t.erased_time >= w.step_time)
), added AS (
    INSERT INTO step_records (funnel_number, step_time, user_key, step)
    SELECT DISTINCT funnel_number, step_time, user_key, step FROM wanted ORDER BY 1, 2, 3, 4
    ON CONFLICT DO NOTHING
    RETURNING 1
)
SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM added)
"""

_READ = """
SELECT string_agg(int4send(user_key), ''), string_agg(int2send(step), ''),
       string_agg(timestamptz_send(step_time), '')
FROM step_records
WHERE funnel_number = %(funnel)s AND step_time >= %(start)s AND step_time < %(end)s
"""


class Fate(Enum):
    """What became of a record."""

    TAKEN = "taken"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Record:
    """A checked record: its funnel's number, the step, who did it, when (Unix µs)."""

    funnel: int
    step: int
    who: Who
    time: int


@dataclass(frozen=True, slots=True)
class Records:
    """Columns of records, of one length, in no order; times are Unix µs."""

    user_keys: NDArray[np.int32]
    steps: NDArray[np.int64]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class RecordStore:
    """Keeps and reads step records."""

    users: UserDictionary

    def fates(self, connection: "Connection", records: "Sequence[Record]") -> list[Fate]:
        """Return which records are of somebody who was erased since."""
        parameters = self.users.columns([each.who for each in records]) | _times(records)
        with driver_cursor(connection) as cursor:
            rows = cursor.execute(_BURIED, parameters).fetchall()
        erased = {position - 1 for position, is_erased in rows if is_erased}
        return [Fate.ERASED if index in erased else Fate.TAKEN for index in range(len(records))]

    def add(self, connection: "Connection", records: "Sequence[Record]") -> int:
        """Keep records of people who have keys; return how many are new. Raise Aborted for an erasure."""
        parameters = self.users.columns([each.who for each in records]) | _times(records)
        parameters["funnels"] = [each.funnel for each in records]
        parameters["steps"] = [each.step for each in records]
        try:
            with driver_cursor(connection) as cursor:
                [(wanted, added)] = cursor.execute(_ADD, parameters).fetchall()
        except psycopg.errors.ForeignKeyViolation:
            wanted, added = -1, 0
        if wanted != len(records):
            raise Aborted("somebody was erased meanwhile", "CONFLICT")
        return int(added)

    def read(self, connection: "Connection", funnel: int, times: tuple[int, int]) -> Records:
        """Return the records of a funnel inside [start, end), Unix µs."""
        start, end = map(to_datetime_utc, times)
        with driver_cursor(connection) as cursor:
            [row] = cursor.execute(_READ, {"funnel": funnel, "start": start, "end": end}).fetchall()
        keys, steps, instants = (packed or b"" for packed in row)
        return Records(
            np.frombuffer(keys, ">i4").astype(np.int32),
            np.frombuffer(steps, ">i2").astype(np.int64),
            np.frombuffer(instants, ">i8").astype(np.int64) + _POSTGRES_EPOCH_MICROS,
        )


def _times(records: "Sequence[Record]") -> dict[str, list[object]]:
    return {"times": [to_datetime_utc(each.time) for each in records]}
