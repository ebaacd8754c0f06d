"""Fills a database for the reads, through the service's own storing and folding, without the wire."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from benchmarks import data
from benchmarks.data import Columns
from benchmarks.stack import KEY, Stack
from services.events.domain import UserKind
from services.events.event_types import EventTypes
from services.events.ingest.partitions import Partitions
from services.events.ingest.store import Rows, insert
from services.events.reading.chunk_storing import ChunkStorer
from services.events.reading.orders import refresh
from services.events.rollups.compaction import compact
from services.events.rollups.cover import ReportingCalendar
from services.events.sessions.folding import fold
from services.events.users import UserDictionary
from shared.calendar import DAY_MICROS
from shared.database import create_engine, driver_cursor
from shared.encryption import BlindIndex, Keyring

# A transaction's events; in the order of time, they belong to few roll-ups.
_PART = 50_000
_WRITERS = 2
_NULL = b"\xff\xff\xff\xff"


def load(stack: Stack, database: str, events: Columns) -> None:
    """Create a database and store the events in the order of time; return with nothing left to fold."""
    stack.create(database)
    engine = create_engine(
        stack.url(database), schema="events", pool_size=_WRITERS + 1, application_name="loading"
    )
    rows = _RowMaker(engine)
    Partitions(engine).ensure(events.times, time.time_ns() // 1000)
    calendar = ReportingCalendar(ZoneInfo("UTC"))
    ordered = events.take(np.argsort(events.times, kind="stable"))

    def store(part: Columns) -> None:
        with engine.begin() as connection, driver_cursor(connection) as cursor:
            cursor.execute("SET LOCAL synchronous_commit = off")
            insert(cursor, rows.of(part), datetime.now(UTC), calendar)

    with ThreadPoolExecutor(_WRITERS) as writers:
        for _ in writers.map(store, ordered.parts(_PART)):
            pass
    while compact(engine) or fold(engine) or refresh(engine, time.time_ns() // 3_600_000_000_000):
        pass
    storer = ChunkStorer(engine)
    while storer.step(time.time_ns() // 1000, None):
        pass
    engine.dispose()
    stack.settle(database)


class _RowMaker:
    """Turns columns into rows, with the keys of the service's own dictionaries."""

    def __init__(self, engine: Engine) -> None:
        dictionary = UserDictionary(engine, Keyring.parse(f"1:{KEY}"), BlindIndex.parse(KEY), data.USERS)
        self._user_keys = np.empty(data.USERS, np.int32)
        for start in range(0, data.USERS, 10_000):
            numbers = range(start, start + 10_000)
            keys = dictionary.keys((UserKind.USER, data.user_id(number)) for number in numbers)
            self._user_keys[list(numbers)] = list(keys.values())
        names = [(data.name(number), data.category(number)) for number in range(data.NAMES)]
        event_keys = EventTypes(engine, 10_000).keys(names)
        self._event_keys = np.array([event_keys[name] for name in names], np.int32)
        self._ends = [_end(profile) for profile in data.profiles()]

    def of(self, events: Columns) -> Rows:
        """Return the rows of some events."""
        return Rows(
            user_keys=self._user_keys[events.users],
            times=events.times,
            ids=events.ids.tobytes(),
            event_keys=self._event_keys[events.names],
            values=_values(events.profiles),
            anonymous_keys=np.zeros(len(events), np.int32),
            tails=self._tails(events),
        )

    def _tails(self, events: Columns) -> list[bytes]:
        days = (events.times // DAY_MICROS).tolist()
        sessions = map(data.session_id, events.users.tolist(), days)
        ends = [self._ends[profile] for profile in events.profiles.tolist()]
        return [field(session) + end for session, end in zip(sessions, ends, strict=True)]


def _values(profiles: NDArray[np.int32]) -> NDArray[np.int64]:
    return profiles.astype(np.int64) * 10_000  # hundredths as millionths


def field(text: str) -> bytes:
    """Return a text as binary COPY wants it; an empty one is NULL."""
    encoded = text.encode()
    return len(encoded).to_bytes(4, "big") + encoded if encoded else _NULL


def _end(profile: data.Profile) -> bytes:
    """Return the fields behind the session id as binary COPY wants them."""
    properties = b"\1" + profile.properties_json.encode()  # jsonb's version
    texts = ("", profile.page, profile.referrer, profile.user_agent)
    return b"".join(map(field, texts)) + len(properties).to_bytes(4, "big") + properties
