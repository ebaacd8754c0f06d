"""Load a whole suite for twenty minutes and judge what it holds: `python -m benchmarks.soak`."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from benchmarks import report
from benchmarks.alert_delivery import receiver
from benchmarks.report import Line
from benchmarks.soak import judging, soaking
from benchmarks.soak.footprint import LAUNCHER, POSTGRESQL, Footprint
from benchmarks.soak.judging import MORE_THREADS, Held, Judgement
from benchmarks.soak.soaking import Load, Observed
from benchmarks.soak.suite import Suite, running
from benchmarks.stack import DIRECTORY
from tests.faults.ledger import Ledger

SECTION = "soak"
SHOWN = 5
FILES_OF_A_SESSION = 1_000  # PostgreSQL's default
_MEBIBYTE = 2**20


@click.command()
@click.option("--minutes", default=20.0, show_default=True, help="How long the load lasts.")
@click.option("--warm-up", default=5.0, show_default=True, help="The first of these minutes, not judged.")
@report.write_option
def main(minutes: float, warm_up: float, written: Path | None) -> None:
    """Load every service and the gateway; end with 1 where memory grows or anything is lost."""
    if minutes <= warm_up:
        raise click.BadParameter("nothing is left after the warm-up", param_hint="--minutes")
    directory = DIRECTORY / f"soak.{os.getpid()}"
    directory.mkdir(parents=True)
    with (
        running(directory / "suite") as suite,
        receiver() as (url, arrived),
        Ledger(directory / "ledger.jsonl") as ledger,
    ):
        everybody = soaking.load(suite, ledger, url, arrived)
        observed = soaking.soak(suite, everybody, 60 * minutes, 60 * warm_up)
        _keep(directory / "samples.jsonl", observed)
        lines = [*_held(observed), *_told(suite, everybody, observed)]
    remark = f" {minutes:g} minutes, of which the first {warm_up:g} are not judged."
    report.publish(SECTION, lines, written, remark)
    if any(line.is_met is False for line in lines):
        print(f"Logs, the ledger and the samples are kept in {directory}")
        sys.exit(1)
    shutil.rmtree(directory)


def _keep(path: Path, observed: Observed) -> None:
    everything = (observed.before, *observed.samples, observed.after)
    path.write_text("".join(json.dumps(asdict(each)) + "\n" for each in everything))


def _held(observed: Observed) -> list[Line]:
    parts = list(observed.before.parts)
    parts.sort(key=lambda part: part == LAUNCHER)
    return [line for part in parts for line in _of_part(part, observed)]


def _of_part(part: str, observed: Observed) -> list[Line]:
    before, after = observed.before.parts[part], observed.after.parts[part]
    sampled = [(each.seconds, each.parts[part]) for each in observed.samples]
    held = Held(
        seconds=[seconds for seconds, _ in sampled],
        private=[each.private for _, each in sampled],
        descriptors=[each.descriptors for _, each in sampled],
        threads_before=before.threads,
        threads_after=after.threads,
    )
    judged = judging.judge(held)
    busy = f"{observed.busy_ratio_of(part):.1%} of a processor"
    return [_memory(part, judged, [each for _, each in sampled], busy), _counts(part, judged, before, after)]


def _memory(part: str, judged: Judgement, sampled: Sequence[Footprint], busy: str) -> Line:
    last = sampled[-1]
    return Line(
        f"{part}: memory of its own",
        _mebibytes(judged.median),
        f"resident {_mebibytes(last.resident)}, proportional {_mebibytes(last.proportional)}; {busy}",
        f"{judged.growth / _MEBIBYTE:+.1f} MiB meanwhile",
        f"≤ + {judged.bound / _MEBIBYTE:.1f} MiB",
        judged.is_flat,
    )


def _counts(part: str, judged: Judgement, before: Footprint, after: Footprint) -> Line:
    # PostgreSQL's sessions keep the files of the tables they have met, up to max_files_per_process.
    keeps_files = part == POSTGRESQL
    most = FILES_OF_A_SESSION * after.processes
    return Line(
        f"{part}: {'processes' if keeps_files else 'threads'}, file descriptors",
        f"{after.threads}, {judged.descriptors_last:,}",
        f"before {before.threads}, {judged.descriptors_first:,}",
        bar=f"≤ {MORE_THREADS} more, {f'≤ {most:,}' if keeps_files else 'none more'}",
        is_met=judged.threads_returned
        and (judged.descriptors_last <= most if keeps_files else not judged.keeps_descriptors),
    )


def _told(suite: Suite, everybody: Load, observed: Observed) -> list[Line]:
    """Say what went wrong, and tell how much did."""
    failures, errors, untold = everybody.failures(), suite.errors(), everybody.untold()
    acknowledged = everybody.acknowledged()
    wrong = judging.miscounted(acknowledged, everybody.counted())
    first = {failure.partition(",")[0]: failure for failure in reversed(failures)}
    for each in (*first.values(), *errors[:SHOWN], *untold, *wrong):
        print(each)
    return [
        Line(
            "rounds of callers",
            f"{everybody.calls():,}",
            f"{len(failures)} failed",
            "",
            "0 failed",
            not failures,
        ),
        Line("errors in logs", str(len(errors)), "", "", "0", not errors),
        Line(
            "events acknowledged",
            f"{acknowledged.total():,}",
            f"{len(wrong)} names counted otherwise",
            "",
            "as CountEvents tells",
            not wrong,
        ),
        Line(
            "assignments, steps and alerts",
            f"{len(untold)} otherwise than they happened",
            bar="0",
            is_met=not untold,
        ),
        _connections(observed),
        Line("processor time of the suite", f"{observed.busy_ratio:.0%} of one processor"),
    ]


def _connections(observed: Observed) -> Line:
    before, after = (sum(each.connections.values()) for each in (observed.before, observed.after))
    return Line(
        "connections to PostgreSQL",
        str(after),
        ", ".join(f"{name} {count}" for name, count in observed.after.connections.items()),
        f"before {before}",
        "no more than before",
        after <= before,
    )


def _mebibytes(size: float) -> str:
    return f"{size / _MEBIBYTE:.0f} MiB"


if __name__ == "__main__":
    main()
