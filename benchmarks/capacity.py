"""Capacity: what an event and a person cost, so that it can be computed what to buy.

Nothing stands beside it and no bar is set: docs/operating.md tells how to compute with the figures.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import psycopg

from benchmarks import capacity_people, data, measuring, sending, unary
from benchmarks.report import Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.stack import ServiceProcess, Stack
    from benchmarks.stored import Stored

DATABASE = "capacity"
# Events of a call, and what part of the events is sent in such calls.
BATCHES = ((1_000, 1.0), (100, 0.4), (10, 0.1))
CALLERS = 64  # of single events
SINGLES = 6_000
FOLD_SECONDS = 90
_DELTAS = b"SELECT count(*) FROM events.event_deltas"
_WAL = b"SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"
# Partitions count with what they are partitions of; TOAST with its table.
_SIZES = """
SELECT coalesce(parent.relname, part.relname), part.relkind = 'i', sum(pg_table_size(part.oid))::int8
FROM pg_class AS part
LEFT JOIN pg_inherits ON inhrelid = part.oid
LEFT JOIN pg_class AS parent ON parent.oid = inhparent
WHERE part.relkind IN ('r', 'i') AND part.relnamespace = 'events'::regnamespace
GROUP BY 1, 2
"""
_HEAP, _ROLLUPS, _DICTIONARY, _OTHERS = (
    "rows of events",
    "roll-ups",
    "dictionary of people",
    "everything else",
)
_PLACES = {
    "events": _HEAP,
    "events_pkey": "index of events by person",
    "stored_chunks": "stored columns",
    "users": _DICTIONARY,
}


@dataclass(frozen=True)
class Running:
    """What works while events are sent, and a connection of a superuser."""

    service: "ServiceProcess"
    postgres_pid: int
    connection: psycopg.Connection[tuple[object, ...]]


def run(stored: "Stored", counts: tuple[int, int], events: int) -> list[Line]:
    """Measure ingest of so many events, and what lies on disk and in memory after few and many."""
    return [
        *_ingest(stored.stack, events),
        *_disk(stored, counts),
        *capacity_people.run(stored, counts),
    ]


def _ingest(stack: "Stack", events: int) -> list[Line]:
    """Measure the processor time of calls of each size, folding included, and the write-ahead log."""
    stack.create(DATABASE)
    with ExitStack() as resources:
        service = resources.enter_context(stack.service(DATABASE))
        connection = resources.enter_context(stack.postgres.connect(DATABASE))
        running = Running(service, stack.postgres.pid, connection)
        sender = sending.Sender(service, resources.enter_context(service.channel()))
        now = time.time_ns() // 1000
        # People are met for the first time once; most events are of somebody known.
        sender.send(sending.batches(data.recent(events, now)))
        connection.execute("CHECKPOINT")
        lines = []
        for seed, (batch, share) in enumerate(BATCHES, start=1):
            count = int(share * events)
            send = partial(sender.send, sending.batches(data.recent(count, now, seed), batch))
            lines.append(_cost(f"TrackEvents, {batch:,} events a call", send, count, running))
        unary.track_all(service, unary.requests_of(unary.USERS, seed=1), CALLERS)
        singles = partial(unary.track_all, service, unary.requests_of(SINGLES, seed=2), CALLERS)
        lines.append(_cost(f"TrackEvent, {CALLERS} callers", singles, SINGLES, running))
    stack.drop(DATABASE)
    return lines


def _cost(name: str, send: "Callable[[], object]", count: int, running: "Running") -> Line:
    """Tell what sending so many events costs until they are folded."""
    connection = running.connection

    def store() -> None:
        send()
        deadline = time.monotonic() + FOLD_SECONDS
        while _number(connection, _DELTAS):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name}: not folded within {FOLD_SECONDS} s")
            time.sleep(0.5)

    written = _number(connection, _WAL)
    cost = measuring.cost(store, running.service.pid, running.postgres_pid)
    written = _number(connection, _WAL) - written
    service_micros, postgres_micros = (each / count * 1e6 for each in (cost.service, cost.postgres))
    return Line(
        name,
        f"{1e6 / (service_micros + postgres_micros):,.0f} events a second and processor",
        f"service {service_micros:.1f} µs, PostgreSQL {postgres_micros:.1f} µs an event",
        f"{written / count:.0f} bytes of write-ahead log an event",
    )


def _number(connection: psycopg.Connection[tuple[object, ...]], query: bytes) -> int:
    [found] = connection.execute(query).fetchone() or (0,)
    return int(str(found))


def _disk(stored: "Stored", counts: tuple[int, int]) -> list[Line]:
    """Tell what lies where, of each event; and of an event more, the difference between few and many."""
    few, many = (_sizes(stored, count) for count in counts)
    dictionary = many.pop(_DICTIONARY)
    few.pop(_DICTIONARY)
    lines = [_place(place, few.get(place, 0), many[place], counts) for place in many]
    person = Line(f"disk, {_DICTIONARY}", f"{dictionary / data.USERS:.0f} bytes a person of {data.USERS:,}")
    return [*lines, person, _place("disk in all but people", sum(few.values()), sum(many.values()), counts)]


def _sizes(stored: "Stored", count: int) -> dict[str, int]:
    found: dict[str, int] = {}
    with stored.stack.postgres.connect(stored.database(count)) as connection:
        for name, is_index, size in connection.execute(_SIZES.encode()).fetchall():
            place = _place_of(str(name), is_index=bool(is_index))
            found[place] = found.get(place, 0) + int(str(size))
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _place_of(name: str, *, is_index: bool) -> str:
    if name in _PLACES:
        return _PLACES[name]
    if name.startswith("events_") and is_index:
        return "index of events by name and time"
    if name.startswith("session"):
        return "sessions"
    if name.startswith(("event_", "value_", "order_")):
        return _ROLLUPS
    return _DICTIONARY if name.startswith("users_") else _OTHERS


def _place(place: str, few: int, many: int, counts: tuple[int, int]) -> Line:
    more = (many - few) / (counts[1] - counts[0])
    return Line(
        place if place.startswith("disk") else f"disk, {place}",
        f"{many / counts[1]:.1f} bytes an event of {counts[1]:,}",
        f"{few / counts[0]:.1f} of {counts[0]:,}",
        f"{more:.1f} an event more",
    )
