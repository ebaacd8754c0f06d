"""Measure beside references: `python -m benchmarks` for everything, or the names of sections."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import click

from benchmarks import (
    alerts,
    anomalies,
    capacity,
    conversion,
    customers,
    demo,
    experiments,
    first_view,
    forecasting,
    funnels,
    gateway,
    growth,
    ingest,
    log_records,
    measuring,
    memory,
    overview,
    reads,
    report,
    retention,
    scan,
    stack,
    unary,
)
from benchmarks.report import Line
from benchmarks.stored import Stored


@dataclass(frozen=True)
class Sizes:
    """How much to measure."""

    events: int
    ingest_events: int
    unary_calls: int
    rounds: int
    calls: int

    @property
    def few_and_many(self) -> tuple[int, int]:
        """Return how many events are few, and ten times as many."""
        return self.events // 5, 2 * self.events


def _at_both_sizes(
    run: Callable[[Stored, int, int], list[Line]], stored: Stored, sizes: Sizes, calls: int
) -> list[Line]:
    """Measure among few events and among many, for which the bars were set."""
    few, many = sizes.few_and_many
    return [
        *(_among(few, replace(line, bar="", is_met=None)) for line in run(stored, few, calls)),
        *(_among(many, line) for line in run(stored, many, calls)),
    ]


def _among(count: int, line: Line) -> Line:
    return replace(line, question=f"{line.question}, among {count:,} events")


SECTIONS: dict[str, Callable[[Stored, Sizes], list[Line]]] = {
    "ingest": lambda stored, sizes: ingest.run(stored.stack, sizes.ingest_events, sizes.rounds),
    "log_records": lambda stored, sizes: log_records.run(
        stored.stack, sizes.ingest_events // 5, sizes.rounds
    ),
    "unary": lambda stored, sizes: unary.run(stored.stack, sizes.unary_calls),
    "reads": lambda stored, sizes: _at_both_sizes(reads.run, stored, sizes, sizes.calls),
    "scan": lambda stored, sizes: _at_both_sizes(scan.run, stored, sizes, sizes.rounds),
    "conversion": lambda stored, sizes: _at_both_sizes(conversion.run, stored, sizes, sizes.rounds),
    "funnels": lambda stored, sizes: funnels.run(stored, sizes.events, sizes.rounds),
    "retention": lambda stored, sizes: _at_both_sizes(retention.run, stored, sizes, sizes.calls),
    "growth": lambda stored, sizes: growth.run(stored, sizes.few_and_many, sizes.calls),
    "overview": lambda stored, sizes: overview.run(stored, 2 * sizes.events, sizes.calls),
    "memory": lambda stored, _: memory.run(stored.stack),
    "capacity": lambda stored, sizes: capacity.run(
        stored, (sizes.events // 5, sizes.events), sizes.ingest_events
    ),
    "gateway": lambda stored, sizes: gateway.run(stored.stack, sizes.ingest_events // 5, 10 * sizes.calls),
    "alerts": lambda stored, _: alerts.run(stored.stack),
    "first_view": lambda stored, sizes: first_view.run(stored.stack, sizes.calls),
    "experiments": lambda stored, sizes: experiments.run(stored.stack, sizes.events // 5, sizes.calls),
    "anomalies": lambda _, __: anomalies.run(),
    "customers": lambda _, __: customers.run(),
    "demo": lambda stored, _: demo.run(stored.stack),
    "forecasting": lambda _, __: forecasting.run(),
}


@click.command()
@click.argument("sections", nargs=-1, type=click.Choice(list(SECTIONS)))
@click.option(
    "--events",
    default=5_000_000,
    show_default=True,
    help="Funnels are of so many events; other reads are of a fifth and of twice as many.",
)
@click.option("--ingest-events", default=300_000, show_default=True, help="Events of one ingest round.")
@click.option("--unary-calls", default=2_000, show_default=True, help="TrackEvent calls of one caller.")
@click.option("--rounds", default=7, show_default=True, help="How often ingest and scans are measured.")
@click.option("--calls", default=60, show_default=True, help="How often each read is measured.")
@report.write_option
def main(sections: tuple[str, ...], written: Path | None, **sizes: int) -> None:
    """Measure the sections, all unless named, and print each when it is done."""
    report.console().print(f"{measuring.machine()}, 1-minute load {os.getloadavg()[0]:.1f}")
    with stack.running() as running:
        stored = Stored(running, time.time_ns() // 1000)
        for name in sections or SECTIONS:
            report.publish(name, SECTIONS[name](stored, Sizes(**sizes)), written)


if __name__ == "__main__":
    main()
