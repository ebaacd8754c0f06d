"""Funnels over gRPC beside ClickHouse's windowFunnel: with no columns in memory, with all, and long ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from brain.common.v1.common_pb2 import TimeRange
from brain.funnels.v1 import funnels_pb2 as pb
from brain.funnels.v1.funnels_pb2_grpc import FunnelsServiceStub
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import clickhouse, data, measuring
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.clickhouse import ClickHouse
    from benchmarks.data import Columns
    from benchmarks.stack import Metadata, ServiceProcess
    from benchmarks.stored import Stored

WINDOW_MINUTES = 60
# What part of all events is of the short funnel, and of the long one.
SHORT_STEPS, SHORT_SHARE = 4, 0.22
LONG_STEPS, LONG_SHARE = 12, 0.6
# What parts the time of which is to grow as they do: how much longer an event may take among the most.
GROWING_SHARES, GROWTH_BAR = (0.1, 0.2, 0.4), 1.25
COLD_BAR, WARM_BAR, LONG_BAR_SECONDS = 2.0, 0.5, 3.0
CACHE_BYTES = 256 * 2**20
# What a process holds before it has read anything, and while it matches.
WORKING_BYTES = 600 * 2**20


@dataclass(frozen=True)
class Question:
    """Asks one service about the funnel of some names."""

    funnels: FunnelsServiceStub
    metadata: "Metadata"
    names: "Sequence[str]"
    now: int

    def ask(self) -> list[int]:
        """Return the people of each step in 90 days."""
        first = data.first_day(self.now)
        start, end = (Timestamp(seconds=day * 86_400) for day in (first, first + data.DAYS))
        request = pb.AnalyzeFunnelRequest(
            steps=[pb.FunnelStep(event=name, order=order) for order, name in enumerate(self.names)],
            time_window_minutes=WINDOW_MINUTES,
            time_range=TimeRange(start_time=start, end_time=end),
        )
        reply = self.funnels.AnalyzeFunnel(request, metadata=self.metadata)
        return [step.users for step in reply.results.steps]


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure among `count` stored events: a service that keeps columns, and one that keeps none."""
    database, events = stored.database(count), stored.columns(count)
    short, long = _names(events, SHORT_STEPS, SHORT_SHARE), _names(events, LONG_STEPS, LONG_SHARE)
    with (
        clickhouse.loaded(stored.stack.directory / "clickhouse_funnels", events) as reference,
        stored.stack.service(database) as source,
        stored.stack.beside("funnels", database, source, COLUMN_CACHE_BYTES="0") as forgetful,
        stored.stack.beside("funnels", database, source, COLUMN_CACHE_BYTES=str(CACHE_BYTES)) as keeping,
        forgetful.channel() as to_forgetful,
        keeping.channel() as to_keeping,
    ):
        stubs = FunnelsServiceStub(to_forgetful), FunnelsServiceStub(to_keeping)
        cold, warm = (
            Question(stub, service.metadata, short, stored.now)
            for stub, service in zip(stubs, (forgetful, keeping), strict=True)
        )
        lines = _short(cold, warm, reference, events, calls)
        lines.append(_growing(stubs[0], forgetful.metadata, stored.now, events, calls))
        lines += _long(Question(stubs[1], keeping.metadata, long, stored.now), reference, events, calls)
        return [*lines, _memory(keeping)]


def _names(events: "Columns", steps: int, share: float) -> list[str]:
    """Return so many names, neighbours by frequency, that have about a share of the events."""
    counts = np.bincount(events.names, minlength=data.NAMES)
    sums = np.convolve(counts, np.ones(steps, int), "valid")
    first = int(np.abs(sums - share * len(events)).argmin())
    return [data.name(number) for number in range(first, first + steps)]


def _matching(events: "Columns", names: "Sequence[str]") -> int:
    numbers = [number for number in range(data.NAMES) if data.name(number) in names]
    return int(np.isin(events.names, numbers).sum())


def _sql(names: "Sequence[str]") -> str:
    conditions = ", ".join(f"event = '{name}'" for name in names)
    listed = ", ".join(f"'{name}'" for name in names)
    steps = ", ".join(f"countIf(level >= {step})" for step in range(1, len(names) + 1))
    return (
        f"SELECT {steps} FROM (SELECT user, windowFunnel({WINDOW_MINUTES * 60 * 1_000_000})"
        f"(toUInt64(toUnixTimestamp64Micro(time)), {conditions}) AS level FROM events "
        f"WHERE event IN ({listed}) GROUP BY user)"
    )


def _checked(question: Question, reference: "ClickHouse") -> "Callable[[], str]":
    """Return what asks ClickHouse the same, once both gave the same answer."""
    sql = _sql(question.names)
    theirs = [int(number) for number in reference.ask(sql).split()]
    ours = question.ask()
    if ours != theirs:
        raise RuntimeError(f"{ours} here, {theirs} in ClickHouse")
    return lambda: reference.ask(sql)


def _short(
    cold: Question, warm: Question, reference: "ClickHouse", events: "Columns", calls: int
) -> list[Line]:
    ask = _checked(cold, reference)
    _checked(warm, reference)
    *here, there = measuring.medians([cold.ask, warm.ask, ask], calls, run_length=1)
    rows = _matching(events, cold.names)
    names = [f"{len(cold.names)} steps, {rows:,} events, from PostgreSQL", "the same, columns in memory"]
    return [
        Line(
            name,
            milliseconds(elapsed),
            f"ClickHouse {milliseconds(there)}",
            f"{elapsed / there:.2f} times its time",
            f"≤ {bar:g} times",
            elapsed <= bar * there,
        )
        for name, elapsed, bar in zip(names, here, (COLD_BAR, WARM_BAR), strict=True)
    ]


def _long(question: Question, reference: "ClickHouse", events: "Columns", calls: int) -> list[Line]:
    first = measuring.seconds(question.ask)
    ask = _checked(question, reference)
    here, there = measuring.medians([question.ask, ask], calls, run_length=1)
    rows = _matching(events, question.names)
    return [
        Line(
            f"{len(question.names)} steps, {rows:,} events, {name}",
            milliseconds(elapsed),
            f"ClickHouse {milliseconds(there)}",
            f"{elapsed / there:.2f} times its time",
            f"≤ {LONG_BAR_SECONDS:g} s",
            elapsed <= LONG_BAR_SECONDS,
        )
        for name, elapsed in (("first time", first), ("columns in memory", here))
    ]


def _growing(
    funnels: FunnelsServiceStub, metadata: "Metadata", now: int, events: "Columns", calls: int
) -> Line:
    funnel_names = [_names(events, SHORT_STEPS, share) for share in GROWING_SHARES]
    rows = [_matching(events, names) for names in funnel_names]
    taken = measuring.medians(
        [Question(funnels, metadata, names, now).ask for names in funnel_names], calls, run_length=1
    )
    ratio = (taken[-1] / rows[-1]) / (taken[0] / rows[0])
    return Line(
        f"{' · '.join(f'{count:,}' for count in rows)} events, from PostgreSQL",
        " · ".join(map(milliseconds, taken)),
        f"{taken[0] / rows[0] * 1e9:.0f} ns an event of the fewest",
        f"{ratio:.2f} times as much of the most",
        f"≤ {GROWTH_BAR:g} times",
        ratio <= GROWTH_BAR,
    )


def _memory(service: "ServiceProcess") -> Line:
    held = measuring.resident_bytes(service.pid)
    peak = measuring.resident_bytes(service.pid, "VmHWM")
    return Line(
        "resident memory of the service",
        f"{held / 2**20:.0f} MiB",
        f"at most {peak / 2**20:.0f} MiB",
        "",
        f"≤ {(CACHE_BYTES + WORKING_BYTES) / 2**20:.0f} MiB",
        held <= CACHE_BYTES + WORKING_BYTES,
    )
