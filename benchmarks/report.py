"""The table that is printed: what was measured, what stands beside it, and how they compare."""

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks import measuring

_MARKDOWN_HEAD = "| | measured | beside it | ratio | bar | |\n|---|---|---|---|---|---|\n"


@dataclass(frozen=True)
class Line:
    """One measurement as it is printed. `is_met` is None where no bar was set."""

    question: str
    measured: str
    reference: str = ""
    ratio: str = ""
    bar: str = ""
    is_met: bool | None = None


# For commands that measure: what publish() takes as `written`.
write_option = click.option(
    "--write",
    "written",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Put what is printed into this Markdown file as well.",
)


def console() -> Console:
    """Return what tables are printed on: as wide as they are where nobody sees it."""
    return Console(width=None if sys.stdout.isatty() else 170)


def publish(name: str, lines: Sequence[Line], written: Path | None, remark: str = "") -> None:
    """Print the lines of a section that was measured just now, and put them into a file if one is given."""
    load = f"1-minute load {os.getloadavg()[0]:.1f} after it"
    show(console(), f"{name}, {load}", lines)
    if written is not None:
        origin = f"{datetime.now(UTC):%Y-%m-%d}, {measuring.machine()}, {load}.{remark}"
        write(written, name, origin, lines)


def show(console: Console, title: str, lines: Sequence[Line]) -> None:
    """Print the lines of a section."""
    table = Table("", "measured", "beside it", "ratio", "bar", "", title=title, title_justify="left")
    for line in lines:
        verdict = {None: "", True: "met", False: "[red]missed[/]"}[line.is_met]
        table.add_row(line.question, line.measured, line.reference, line.ratio, line.bar, verdict)
    console.print(table)


def write(path: Path, name: str, origin: str, lines: Sequence[Line]) -> None:
    """Put the lines of a section into a Markdown file, in the place of what stands there under its name.

    `origin` tells when and where they were measured.
    """
    block = f"## {name}\n\n{origin}\n\n{_MARKDOWN_HEAD}"
    for line in lines:
        verdict = {None: "", True: "met", False: "**missed**"}[line.is_met]
        cells = (line.question, line.measured, line.reference, line.ratio, line.bar, verdict)
        block += f"| {' | '.join(cells)} |\n"
    text = path.read_text()
    found = re.search(rf"^## {re.escape(name)}\n.*?(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        path.write_text(f"{text.rstrip()}\n\n{block}")
    else:
        path.write_text(f"{text[: found.start()]}{block}\n{text[found.end() :]}".rstrip() + "\n")


def milliseconds(seconds: float) -> str:
    """Return a time in words."""
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def per_second(count: float, seconds: float) -> str:
    """Return a rate of events in words."""
    return f"{count / seconds:,.0f} /s"
