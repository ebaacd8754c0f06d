"""ClickHouse in this process, with the same events in a MergeTree table ordered by event and time.

People are integers there, which spares it the dictionary that the service has; its answers are exact
(uniqExact), with as many threads as the machine of the bars has processors.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from chdb.session import Session

from benchmarks import data
from benchmarks.data import Columns

THREADS = 2
_PART = 1_000_000
_ROW = np.dtype([("user", "<u4"), ("time", "<i8"), ("name", "u1"), ("value", "<i8")])
_TABLE = """
CREATE TABLE events (event LowCardinality(String), time DateTime64(6, 'UTC'), user UInt32, value Int64)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (event, time)
"""


class _Answer(Protocol):
    def bytes(self) -> bytes: ...


class _Session(Protocol):
    """What is used of chdb's session, which has no types."""

    def query(self, sql: str, fmt: str = "CSV") -> _Answer: ...

    def close(self) -> None: ...


class ClickHouse:
    """Asks questions in SQL."""

    def __init__(self, session: _Session) -> None:
        self._session = session

    def ask(self, question: str, answer_format: str = "TabSeparated") -> str:
        """Return the answer."""
        settings = f"SETTINGS max_threads = {THREADS}"
        return str(self._session.query(f"{question} {settings}", answer_format))

    def fetch(self, question: str) -> int:
        """Ask for columns and return how many bytes came back, without turning them into text."""
        answer = self._session.query(f"{question} SETTINGS max_threads = {THREADS}", "Native")
        return len(answer.bytes())


@contextmanager
def loaded(directory: Path, events: Columns) -> Iterator[ClickHouse]:
    """Store events in a new directory, merged as far as they go; it is removed in the end."""
    directory.mkdir()
    make_session: Callable[[str], _Session] = Session
    session = make_session(str(directory / "data"))
    session.query("CREATE DATABASE bench")
    session.query("USE bench")
    session.query(_TABLE)
    names = ", ".join(f"'{data.name(number)}'" for number in range(data.NAMES))
    time = "fromUnixTimestamp64Micro(time, 'UTC')"
    path = directory / "rows.bin"
    for part in events.parts(_PART):
        path.write_bytes(_rows(part))
        columns = "user UInt32, time Int64, name UInt8, value Int64"
        source = f"file('{path}', 'RowBinary', '{columns}')"
        session.query(f"INSERT INTO events SELECT [{names}][name + 1], {time}, user, value FROM {source}")
    path.unlink()
    session.query("OPTIMIZE TABLE events FINAL")
    try:
        yield ClickHouse(session)
    finally:
        session.close()
        shutil.rmtree(directory)


def _rows(events: Columns) -> bytes:
    rows = np.empty(len(events), _ROW)
    rows["user"], rows["time"], rows["name"] = events.users, events.times, events.names
    rows["value"] = events.profiles.astype(np.int64) * 10_000
    return rows.tobytes()
