"""Reads: each question of the events service over gRPC, beside the same ones to ClickHouse in this process.

Those with bars stand beside bare PostgreSQL, too: the rows of events and no more. Questions with sections of
their own, as retention and conversion, stand there.
"""

from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks import clickhouse, measuring
from benchmarks.questions import Questions
from benchmarks.report import Line, milliseconds

if TYPE_CHECKING:
    from benchmarks.clickhouse import ClickHouse
    from benchmarks.questions import Question
    from benchmarks.stored import Stored

BAR_SECONDS = 0.010
BARE_RUNS = 3
FEWER = 6  # questions without bars, which may take seconds, are asked so many times less often
Rows = psycopg.Connection[Any]


def run(stored: "Stored", count: int, calls: int) -> list[Line]:
    """Measure `count` stored events, `calls` calls of each question."""
    database = stored.database(count)
    with (
        clickhouse.loaded(stored.stack.directory / "clickhouse_reads", stored.columns(count)) as reference,
        stored.stack.service(database) as service,
        service.channel() as channel,
        stored.stack.postgres.connect(database) as rows,
    ):
        questions = Questions(channel, service.metadata, stored.now)
        return [_line(question, reference, rows, calls) for question in questions.all()]


def _line(question: "Question", reference: "ClickHouse", rows: Rows, calls: int) -> Line:
    sql, least_ratio = question.sql, question.least_ratio
    repetitions = -(-calls // FEWER) if least_ratio is None else calls
    if sql is None:
        [here] = measuring.medians([question.ask], repetitions)
        return Line(question.name, milliseconds(here))
    ours, theirs = question.ask(), [int(line) for line in reference.ask(sql).split()]
    if ours != theirs:
        raise RuntimeError(f"{question.name}: {ours} here, {theirs} in ClickHouse")
    here, there = measuring.medians([question.ask, lambda: reference.ask(sql)], repetitions)
    bare = "" if question.bare is None else f", PostgreSQL {milliseconds(_bare(rows, question.bare, theirs))}"
    return Line(
        question.name,
        milliseconds(here),
        f"ClickHouse {milliseconds(there)}{bare}",
        f"{there / here:.1f} times as fast",
        "" if least_ratio is None else f"≤ {milliseconds(BAR_SECONDS)}, ≥ {least_ratio:g} times",
        None if least_ratio is None else here <= BAR_SECONDS and there / here >= least_ratio,
    )


def _bare(rows: Rows, sql: str, expected: list[int]) -> float:
    """Return the median time of a few runs, each of which may take seconds."""

    def ask() -> list[int]:
        return [int(count) for (count,) in rows.execute(sql.encode()).fetchall()]

    found = ask()
    if found != expected:
        raise RuntimeError(f"{found} in PostgreSQL, {expected} in ClickHouse: {sql}")
    return median(measuring.seconds(ask) for _ in range(BARE_RUNS))
