"""What a writer thread does with a group of batches: keys, partitions, one transaction, and who got what.

A value that PostgreSQL refuses (what our own checks let through: a number beyond its range, a lone surrogate)
must not fail its neighbours: the group is halved until the bad event stands alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import psycopg
from numpy.typing import NDArray

from services.events.domain import UserKind
from services.events.identity.log import follow
from services.events.ingest.batch import Batch
from services.events.ingest.incoming import Rejected
from services.events.ingest.merge_requests import MergeRequests
from services.events.ingest.overlap import Overlap
from services.events.ingest.store import STORED, Rows, insert
from services.events.reconnects import Reconnects
from services.events.value_rollups.extraction import properties_of
from services.events.value_rollups.registrations import StaleRegistrationsError
from services.events.value_rollups.value_keys import ValueKeys
from shared.calendar import to_datetime_utc
from shared.database import driver_cursor
from shared.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from services.events.domain import Who
    from services.events.event_types import EventTypes
    from services.events.ingest.partitions import Partitions
    from services.events.rollups.cover import ReportingCalendar
    from services.events.users import UserDictionary

ATTEMPTS = 10
_ID_FIELDS = {
    UserKind.USER: "user_id",
    UserKind.ANONYMOUS: "anonymous_id",
    UserKind.SESSION: "session_id",
}
_ERASED_REASON = "erased: who did this was erased at this time or later"
# Data exceptions, and limits such as the size of an index row.
_REFUSED_CLASSES = ("22", "54")
# Deadlocks, serialisation failures, a partition that somebody took away, and an event that somebody else
# stored at the same time.
_RETRIED = ("40P01", "40001", "23514", "23505")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a batch: which events are new (others were stored before), which were refused."""

    is_new: NDArray[np.bool_]
    rejected: tuple[Rejected, ...] = ()

    @property
    def accepted(self) -> int:
        """Events stored now."""
        return int(self.is_new.sum())

    @property
    def duplicates(self) -> int:
        """Events that had been stored before."""
        return len(self.is_new) - self.accepted - len(self.rejected)


class Writer:
    """Writes groups of batches."""

    def __init__(
        self,
        engine: "Engine",
        users: "UserDictionary",
        event_types: "EventTypes",
        partitions: "Partitions",
        calendar: "ReportingCalendar",
        clock: Callable[[], int],
    ) -> None:
        self._value_keys = ValueKeys(engine)
        self._requests = MergeRequests(users.followed)
        self._reconnects = Reconnects(
            engine, users, event_types, partitions, self._requests, self._value_keys
        )
        # Set whenever somebody has to be merged.
        self.merges_asked = Event()
        self._overlap = Overlap()
        self._engine = engine
        self._users = users
        self._event_types = event_types
        self._partitions = partitions
        self._calendar = calendar
        self._clock = clock

    def write(self, batches: list[Batch]) -> list[Outcome | Exception]:
        """Store the batches in one transaction; where that is refused, each for itself."""
        try:
            is_new, keys = self._store_again(batches)
        except psycopg.Error as error:
            if not _is_refusal(error):
                raise
            if len(batches) == 1:
                return [self._halve(batches[0], error)]
            return [outcome for batch in batches for outcome in self.write([batch])]
        ends = list(accumulate(map(len, batches)))
        return [
            Outcome(is_new[end - len(batch) : end], _erased(batch, keys[end - len(batch) : end]))
            for batch, end in zip(batches, ends, strict=True)
        ]

    def _halve(self, batch: Batch, error: psycopg.Error) -> Outcome:
        if len(batch) == 1:
            return Outcome(np.zeros(1, bool), (Rejected(batch.indexes[0], *_blame(error)),))
        middle = len(batch) // 2
        parts = []
        for part in (batch.part(0, middle), batch.part(middle, len(batch))):
            [outcome] = self.write([part])
            if isinstance(outcome, Exception):
                raise outcome
            parts.append(outcome)
        first, second = parts
        return Outcome(np.concatenate((first.is_new, second.is_new)), first.rejected + second.rejected)

    def _rows(self, batches: list[Batch]) -> Rows:
        """Return the rows under the ids' own keys, 0 for what somebody did who was erased after it."""
        who = [who for batch in batches for who in batch.who]
        anonymous = [who for batch in batches for who in batch.anonymous]
        names = [name for batch in batches for name in batch.names]
        times = [time for batch in batches for time in batch.times]
        types = self._event_types.keys(names)
        event_keys = np.array([types[name] for name in names], np.int32)
        tails = [tail for batch in batches for tail in batch.tails]
        registrations = self._value_keys.registrations()
        documents = list(map(properties_of, tails)) if registrations.properties else []
        return Rows(
            user_keys=np.array(self._users.key_column(who, times), np.int32),
            times=np.array(times, np.int64),
            ids=b"".join([event_id for batch in batches for event_id in batch.ids]),
            event_keys=event_keys,
            values=np.array([value for batch in batches for value in batch.values], np.int64),
            anonymous_keys=self._anonymous_keys(anonymous, times),
            tails=tails,
            value_rows=self._value_keys.rows(registrations, event_keys, documents),
        )

    def _anonymous_keys(self, anonymous: "Sequence[Who | None]", times: "Sequence[int]") -> NDArray[np.int32]:
        keys = np.zeros(len(anonymous), np.int32)
        rows = [row for row, who in enumerate(anonymous) if who is not None]
        if rows:
            who = [who for who in anonymous if who is not None]
            keys[rows] = self._users.key_column(who, [times[row] for row in rows])
        return keys

    def _store_again(self, batches: list[Batch]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Return which rows are new, and whose keys, trying again where that can help."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._store(batches)
            except (_ReconnectedError, _ErasedError, StaleRegistrationsError, psycopg.Error) as error:
                self._prepare_again(error, is_last=attempt == ATTEMPTS)
        raise AssertionError("unreachable")

    def _prepare_again(self, error: Exception, *, is_last: bool) -> None:
        """Forget what made a transaction fail; raise where another would fail too, or was the last."""
        if isinstance(error, psycopg.Error) and error.sqlstate not in _RETRIED:
            raise error
        if is_last:
            message, reason = _PASSING.get(
                type(error), ("others store the same events just now", "INGEST_CONTENTION")
            )
            raise Unavailable(message, reason) from error
        if isinstance(error, StaleRegistrationsError):
            self._value_keys.clear()
        elif isinstance(error, psycopg.Error) and error.sqlstate == "23514":
            self._partitions.clear()

    def _store(self, batches: list[Batch]) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        connections, generation = self._reconnects.count, self._users.begin()
        sent = self._rows(batches)
        chosen = np.flatnonzero(sent.user_keys)
        rows = sent if len(chosen) == len(sent) else sent.take(chosen)
        is_new = np.zeros(len(sent), bool)
        if not len(rows):
            return is_new, sent.user_keys
        now = self._clock()
        self._partitions.ensure(rows.times, now)
        with (
            self._overlap.turn(rows.ids),
            self._engine.begin() as connection,
            driver_cursor(connection) as cursor,
        ):
            if self._reconnects.count != connections:  # the keys may be those of another database
                raise _ReconnectedError
            moving = follow(cursor, self._users)
            if self._users.followed.generation != generation:  # some of the keys may be nobody's now
                raise _ErasedError
            rows = rows.merged(self._users.followed.current(rows.user_keys))
            is_new[chosen] = insert(
                cursor, rows, to_datetime_utc(now), self._calendar, moving, STORED.of(connection)
            )
            asked = self._requests.ask(cursor, rows)
        if asked:
            self._requests.remember(asked)
            self.merges_asked.set()
        return is_new, sent.user_keys


class _ReconnectedError(Exception):
    """A connection was made since the keys were looked up."""


class _ErasedError(Exception):
    """Somebody was erased since the keys were looked up."""


def _erased(batch: Batch, keys: NDArray[np.int32]) -> tuple[Rejected, ...]:
    """Return the rejections of what the erased did before they were."""
    return tuple(
        Rejected(batch.indexes[row], _ID_FIELDS[batch.who[row][0]], _ERASED_REASON)
        for row in np.flatnonzero(keys == 0).tolist()
    )


# What may be gone at the next attempt, and what a caller is told when it never is.
_PASSING: dict[type[Exception], tuple[str, str]] = {
    _ReconnectedError: ("the database comes and goes", "DATABASE_UNAVAILABLE"),
    _ErasedError: ("too many people are being erased", "INGEST_CONTENTION"),
    StaleRegistrationsError: ("properties come and go", "INGEST_CONTENTION"),
}


def _is_refusal(error: psycopg.Error) -> bool:
    return (error.sqlstate or "").startswith(_REFUSED_CLASSES)


def _blame(error: psycopg.Error) -> tuple[str, str]:
    """Names the field of a single event that PostgreSQL refused: COPY says which column it was reading."""
    context = error.diag.context or ""
    column = context.partition("column ")[2].partition(":")[0].partition(",")[0]
    field = "properties" if column == "properties" else column.removesuffix("_text") or "event"
    return field, f"was refused by the database: {error.diag.message_primary}"
