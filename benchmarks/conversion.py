"""Conversion: a million matching events of 90 days over gRPC, with no columns in memory and with all."""

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1.common_pb2 import TimeRange
from brain.events.v1 import conversion_pb2 as pb
from brain.events.v1.events_pb2_grpc import EventsServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import clickhouse, data, measuring
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.clickhouse import ClickHouse
    from benchmarks.data import Columns
    from benchmarks.stack import Metadata
    from benchmarks.stored import Stored

ROWS = 1_000_000
COLD_BAR_SECONDS, WARM_BAR_SECONDS = 0.8, 0.2
WINDOW_MINUTES = 60 * 24


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure among `count` stored events: one service that keeps columns, and one that keeps none."""
    database, events = stored.database(count), stored.columns(count)
    start, end, rows = _pair(events)
    with (
        clickhouse.loaded(stored.stack.directory / "clickhouse_conversion", events) as reference,
        stored.stack.service(database, COLUMN_CACHE_BYTES="0") as forgetful,
        stored.stack.service(database) as keeping,
        forgetful.channel() as to_forgetful,
        keeping.channel() as to_keeping,
    ):
        pids = [(service.pid, stored.stack.postgres.pid) for service in (forgetful, keeping)]
        cold = Question(
            EventsServiceStub(to_forgetful), forgetful.metadata, (start, end), stored.now, pids[0]
        )
        warm = Question(EventsServiceStub(to_keeping), keeping.metadata, (start, end), stored.now, pids[1])
        return _lines(cold, warm, reference, (rows, calls))


def _pair(events: "Columns") -> tuple[str, str, int]:
    """Return the two names that together come nearest to a million events, and how many they have."""
    counts = np.bincount(events.names, minlength=data.NAMES)
    distances = np.abs(counts[:, None] + counts[None, :] - ROWS)
    np.fill_diagonal(distances, np.iinfo(distances.dtype).max)
    start, end = divmod(int(distances.argmin()), data.NAMES)
    return data.name(start), data.name(end), int(counts[start] + counts[end])


@dataclass(frozen=True)
class Question:
    """Asks one service. pids: its own and PostgreSQL's."""

    events: EventsServiceStub
    metadata: "Metadata"
    names: tuple[str, str]
    now: int
    pids: tuple[int, int]

    def ask(self) -> pb.ConversionRate:
        """Return the total of 90 days."""
        first = data.first_day(self.now)
        start, end = (Timestamp(seconds=day * 86_400) for day in (first, first + data.DAYS))
        request = pb.GetConversionRateRequest(
            start_event=self.names[0],
            end_event=self.names[1],
            window_minutes=WINDOW_MINUTES,
            time_range=TimeRange(start_time=start, end_time=end),
        )
        return self.events.GetConversionRate(request, metadata=self.metadata).total

    def processor_seconds(self) -> float:
        """Return the processor time of a call, which what else runs on the machine hardly changes."""
        cost = measuring.cost(self.ask, *self.pids)
        return cost.service + cost.postgres


def _lines(cold: Question, warm: Question, reference: "ClickHouse", sizes: tuple[int, int]) -> list[Line]:
    rows, calls = sizes
    start, end = cold.names
    funnel = (
        "SELECT count(), countIf(level = 2) FROM (SELECT user, windowFunnel("
        f"{WINDOW_MINUTES * 60 * 1_000_000})(toUInt64(toUnixTimestamp64Micro(time)), "
        f"event = '{start}', event = '{end}') AS level FROM events "
        f"WHERE event IN ('{start}', '{end}') GROUP BY user) WHERE level > 0"
    )
    theirs = [int(number) for number in reference.ask(funnel).split()]
    for question in (cold, warm):
        total = question.ask()
        if [total.starters, total.converters] != theirs:
            raise RuntimeError(f"{total.starters}, {total.converters} here, {theirs} in ClickHouse")
    asked: list[Callable[[], object]] = [cold.ask, warm.ask, lambda: reference.ask(funnel)]
    *here, there = measuring.medians(asked, calls, run_length=1)
    busy = [median(question.processor_seconds() for _ in range(calls)) for question in (cold, warm)]
    names = [f"{rows:,} events, from PostgreSQL", "the same, columns in memory"]
    bars = [COLD_BAR_SECONDS, WARM_BAR_SECONDS]
    return [
        Line(
            name,
            f"{milliseconds(elapsed)}, {milliseconds(processor)} of processors",
            f"ClickHouse {milliseconds(there)}",
            f"{there / elapsed:.1f} times as fast",
            f"≤ {milliseconds(bar)}",
            elapsed <= bar,
        )
        for name, elapsed, processor, bar in zip(names, here, busy, bars, strict=True)
    ]
