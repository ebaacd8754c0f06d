"""Writers and a compactor whose statements something can come between."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import sqlalchemy

from services.events.ingest.incoming import read
from services.events.ingest.writer import Outcome, Writer
from services.events.rollups.compaction import compact
from shared.database import driver_cursor
from tests.clock import Clock
from tests.services.events.made_events import made_events
from tests.services.events.recount import recount

# Its days begin at :30 of a UTC hour, so that an hour has parts of two days.
ZONE = "Asia/Kolkata"
# Folds of one delta or two, and of all there are.
FEW_BYTES, MANY_BYTES = 300, 100_000

Action = Callable[[], object]


class CutOffError(psycopg.OperationalError):
    """The connection broke."""


def cut_off() -> None:
    raise CutOffError("on purpose")


@dataclass
class Interruption:
    """What happens before which statement of the next transaction; once."""

    statement: int
    action: Action
    happened: bool = False


@dataclass
class Interrupted:
    """A cursor that lets something happen before a statement."""

    cursor: "psycopg.Cursor[Any]"
    interruption: Interruption
    statements: int = 0

    def execute(self, *arguments: Any) -> Any:  # noqa: ANN401 - psycopg's own
        self.step()
        return self.cursor.execute(*arguments)

    def copy(self, *arguments: Any) -> Any:  # noqa: ANN401 - psycopg's own
        self.step()
        return self.cursor.copy(*arguments)

    def step(self) -> None:
        if self.statements == self.interruption.statement:
            self.interruption.happened = True
            self.interruption.action()
        self.statements += 1

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - psycopg's own
        return getattr(self.cursor, name)


@dataclass
class Interruptions:
    """Stands where writers and compactors get their cursors.

    Servers of other tests that still run in this process keep theirs: only one engine's are interrupted.
    """

    engine: sqlalchemy.Engine
    waiting: list[Interruption] = field(default_factory=list)

    @contextmanager
    def cursor(self, connection: sqlalchemy.Connection) -> Iterator[Any]:
        with driver_cursor(connection) as cursor:
            if connection.engine is not self.engine or not self.waiting:
                yield cursor
                return
            interrupted = Interrupted(cursor, self.waiting.pop())
            yield interrupted
            interrupted.step()  # before the commit


@dataclass
class Parts:
    """Writers of two replicas, a compactor and a checker on one database."""

    engine: sqlalchemy.Engine
    connection: "psycopg.Connection[Any]"
    writer: Writer
    other_writer: Writer
    interruptions: Interruptions

    def write(self, numbers: list[int]) -> Outcome:
        return written(self.other_writer, numbers)

    def write_interrupted(self, numbers: list[int], interruption: Interruption) -> Outcome:
        """Know everybody first, so that the next transaction is the one that stores."""
        self.writer._rows([read(made_events(numbers), Clock.micros)[0]])  # noqa: SLF001 - fills its caches
        self.interruptions.waiting.append(interruption)
        return written(self.writer, numbers)

    def fold_interrupted(self, interruption: Interruption, size: int = FEW_BYTES) -> None:
        self.interruptions.waiting.append(interruption)
        compact(self.engine, size)

    def check(self) -> int:
        """Find no mismatch; return the number of events."""
        recounted = recount(self.connection, ZONE)
        assert recounted.mismatches == []
        return recounted.events

    def empty(self) -> None:
        self.connection.execute("TRUNCATE events, event_deltas, event_hours, event_days")


def written(writer: Writer, numbers: list[int]) -> Outcome:
    batch, rejected = read(made_events(numbers), Clock.micros)
    assert not rejected
    [outcome] = writer.write([batch])
    assert isinstance(outcome, Outcome)
    return outcome
