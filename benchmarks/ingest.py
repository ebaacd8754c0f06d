"""Ingest: TrackEvents over gRPC beside a bare COPY of the same rows into the same tables.

The COPY is one transaction on one connection, its rows formatted beforehand, without staging, deduplication
or roll-ups. Both sides write to tables emptied before, by turns.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median

import psycopg

from benchmarks import data, measuring, sending
from benchmarks.data import Columns
from benchmarks.measuring import Cost
from benchmarks.report import Line, per_second
from benchmarks.stack import ServiceProcess, Stack

DATABASE = "ingest"
DUPLICATES = 0.01
_EMPTY = b"TRUNCATE events.events, events.event_deltas, events.event_hours, events.event_days"
_CHUNK = 1 << 20
# The rows as the service stored them, in the order in which they arrived.
_ROWS = """
SELECT events.* FROM arrivals JOIN events.events USING (event_id) ORDER BY position
"""


@dataclass(frozen=True)
class Load:
    """Events on the wire and, once the service has stored them, as rows for COPY."""

    name: str
    events: int
    requests: list[bytes]
    rows: bytes = b""
    copy_format: str = ""


Contender = tuple[Load, Callable[[Load], None]]


class Rig:
    """A service, its sender, and a superuser's connection to its database."""

    def __init__(self, stack: Stack, service: ServiceProcess, sender: sending.Sender) -> None:
        self._stack = stack
        self._service = service
        self._sender = sender
        self._connection = stack.postgres.connect(DATABASE)

    def empty(self) -> None:
        """Empty the tables, and start with a fresh checkpoint, so that none falls due because of others."""
        self._connection.execute(_EMPTY)
        self._connection.execute("CHECKPOINT")

    def send(self, load: Load) -> None:
        """Store a load over gRPC."""
        sent = self._sender.send(load.requests)
        if sent.accepted + sent.duplicates != load.events:
            raise RuntimeError(f"{load.name}: {sent} of {load.events:,}")

    def copy(self, load: Load) -> None:
        """Store a load's rows by COPY."""
        with self._connection.cursor() as cursor:
            _copy(cursor, load.rows, load.copy_format)

    def cost(self, contender: Contender) -> Cost:
        """Return what storing a load costs, into empty tables."""
        load, store = contender
        self.empty()
        return measuring.cost(lambda: store(load), self._service.pid, self._stack.postgres.pid)

    def rows(self, events: Columns, copy_format: str) -> bytes:
        """Return the stored events as COPY takes them, in the order of arrival."""
        with self._connection.cursor() as cursor:
            cursor.execute("CREATE TEMPORARY TABLE arrivals (position int, event_id uuid)")
            lines = (f"{row}\t{event.tobytes().hex()}\n" for row, event in enumerate(events.ids))
            _copy(cursor, "".join(lines).encode(), "text", table="arrivals")
            with cursor.copy(f"COPY ({_ROWS}) TO STDOUT (FORMAT {copy_format})".encode()) as copy:
                rows = b"".join(bytes(block) for block in copy)
            cursor.execute("DROP TABLE arrivals")
        return rows


def _copy(
    cursor: psycopg.Cursor[tuple[object, ...]], rows: bytes, copy_format: str, table: str = "events.events"
) -> None:
    view = memoryview(rows)
    with cursor.copy(f"COPY {table} FROM STDIN (FORMAT {copy_format})".encode()) as copy:
        for start in range(0, len(view), _CHUNK):
            copy.write(bytes(view[start : start + _CHUNK]))


def run(stack: Stack, events: int, rounds: int) -> list[Line]:
    """Measure `events` events in each of `rounds` rounds, every contender once a round."""
    stack.create(DATABASE)
    with ExitStack() as resources:
        service = resources.enter_context(stack.service(DATABASE))
        channel = resources.enter_context(service.channel())
        rig = Rig(stack, service, sending.Sender(service, channel))
        now = time.time_ns() // 1000
        fresh = data.recent(events, now)
        # The first, unmeasured run of each load warms the service's cache of users.
        recent, recent_text = _prepared(rig, "recent times", fresh)
        late, late_text = _prepared(rig, "times spread over 90 days", data.spread(events, now, seed=1))
        again = _load("one duplicate in a hundred", data.with_duplicates(fresh, DUPLICATES))
        contenders: list[Contender] = [
            (recent, rig.copy),
            (recent_text, rig.copy),
            (recent, rig.send),
            (again, rig.send),
            (late, rig.copy),
            (late_text, rig.copy),
            (late, rig.send),
        ]
        costs = [[rig.cost(contender) for contender in contenders] for _ in range(rounds)]
    stack.drop(DATABASE)
    return _lines(recent, late, [list(column) for column in zip(*costs, strict=True)])


def _load(name: str, events: Columns) -> Load:
    return Load(name, len(events), sending.batches(events))


def _prepared(rig: Rig, name: str, events: Columns) -> tuple[Load, Load]:
    """Store a load once and return it with its rows as binary and as text COPY takes them."""
    load = _load(name, events)
    rig.empty()
    rig.send(load)
    binary, text = (
        Load(name, len(events), load.requests, rig.rows(events, copy_format), copy_format)
        for copy_format in ("binary", "text")
    )
    return binary, text


def _lines(recent: Load, late: Load, costs: list[list[Cost]]) -> list[Line]:
    recent_copy, recent_text, recent_sent, again_sent, late_copy, late_text, late_sent = costs
    return [
        _beside_copy(recent, "binary", recent_sent, recent_copy, 0.45),
        _beside_copy(recent, "text", recent_sent, recent_text, 0.45),
        _beside_copy(late, "binary", late_sent, late_copy, 0.3),
        _beside_copy(late, "text", late_sent, late_text, 0.3),
        _beside_unique(recent, again_sent, recent_sent),
        Line("bytes of an event on the wire", f"{sum(map(len, recent.requests)) / recent.events:.0f}"),
        *(
            Line(f"processor time, {name}", _per_event(each, load.events), _per_event(beside, load.events))
            for name, load, each, beside in (
                ("recent", recent, recent_sent, recent_copy),
                ("spread", late, late_sent, late_copy),
                ("duplicates", recent, again_sent, recent_sent),
            )
        ),
    ]


def _beside_copy(load: Load, copy_format: str, sent: list[Cost], copied: list[Cost], bar: float) -> Line:
    ratio = median(copy.elapsed / send.elapsed for send, copy in zip(sent, copied, strict=True))
    return Line(
        f"TrackEvents, {load.name}",
        per_second(load.events, _elapsed(sent)),
        f"COPY ({copy_format}) {per_second(load.events, _elapsed(copied))}",
        f"{ratio:.2f}",
        f"≥ {bar}",
        ratio >= bar,
    )


def _beside_unique(load: Load, again: list[Cost], sent: list[Cost]) -> Line:
    ratio = median(one.elapsed / other.elapsed for one, other in zip(again, sent, strict=True))
    return Line(
        "TrackEvents, one duplicate in a hundred",
        per_second(load.events, _elapsed(again)),
        f"none {per_second(load.events, _elapsed(sent))}",
        f"{ratio:.2f} times the time",
        "≤ 1.2",
        ratio <= 1.2,
    )


def _elapsed(costs: list[Cost]) -> float:
    return median(cost.elapsed for cost in costs)


def _per_event(costs: list[Cost], events: int) -> str:
    parts = [
        f"{name} {median(getattr(cost, name) for cost in costs) / events * 1e6:.1f}"
        for name in ("service", "postgres", "client")
    ]
    return f"{', '.join(parts)} µs"
