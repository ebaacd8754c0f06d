from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TextIO
from uuid import NAMESPACE_URL, uuid5

import click
from brain.events.v1.events_pb2 import Event
from rich.console import Console

from brain_client.cli_session import Target, pairs, zone
from brain_client.client import Brain
from brain_client.line_ids import line_ids
from brain_client.lines import NumberedRecord, Record, open_text, reader_for
from brain_client.progress import Tally, bar
from brain_client.records import BadLine, Columns, event_maker
from brain_client.resume import Checkpoint, checkpoint
from brain_client.upload import NumberedEvent, Settled, upload

_SHOWN_BAD_LINES = 20

# From a file's text and the number of a line to the events of the lines below that one.
Events = Callable[[TextIO, int], Iterator[NumberedEvent]]


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--map", "renamed", multiple=True, metavar="COLUMN=FIELD", help="May be repeated.")
@click.option("--set", "constants", multiple=True, metavar="FIELD=VALUE", help="Where a line has none.")
@click.option("--number", "numbers", multiple=True, metavar="COLUMN", help="A property to read as a number.")
@click.option("--time-zone", default="UTC", show_default=True, help="Of times without an offset.")
@click.option("--source", help="What the ids of lines without one are made from; the file's name if absent.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".brain/imports"),
    show_default=True,
    help="Directory, made where missing, that remembers how far an interrupted import came.",
)
@click.pass_obj
def import_command(  # noqa: PLR0913, PLR0917 — click hands over each option
    target: Target,
    file: Path,
    renamed: tuple[str, ...],
    constants: tuple[str, ...],
    numbers: tuple[str, ...],
    time_zone: str,
    source: str | None,
    state: Path,
) -> None:
    """Store the events of FILE: .csv with a header, or .jsonl with an object on each line; .gz or not.

    Columns named like the fields of an event (event, session_id, user_id, event_time, value, properties …)
    fill them; other columns become properties, as text in CSV, as they are in JSONL. Every line needs event,
    session_id and event_time (ISO 8601).

    Lines without an event_id get one made from the source and their line number, so that importing a file
    again stores nothing twice, unpacked or packed. An interrupted import goes on where it stopped.

    Lines that cannot be stored are listed with their reason, and the exit code is then 1.
    """
    columns = Columns(pairs(renamed, "--map"), pairs(constants, "--set"), frozenset(numbers), zone(time_zone))
    read = reader_for(file)
    namespace = uuid5(NAMESPACE_URL, source or file.name.removesuffix(".gz"))
    make = event_maker(columns, line_ids(namespace))
    kept = checkpoint(file, target.address, f"{namespace} {columns}", state)
    tally = _run(target, file, kept, lambda text, after: _events(read(text), make, after))
    if tally.rejected:
        raise click.exceptions.Exit(1)


def _run(target: Target, file: Path, kept: Checkpoint, events: Events) -> Tally:
    console = Console(stderr=True)
    with target.connect("ingest") as brain:
        tally = _resumed(brain, file, kept.load(), events, console)
        with (
            file.open("rb") as raw,
            open_text(raw, file) as text,
            bar(console, file.name, file.stat().st_size) as move,
        ):

            def settled(part: Settled) -> None:
                _tell_bad_lines(console, part.bad_lines, tally.rejected)
                tally.add(part)
                kept.save(tally)
                move(tally, raw.tell())

            upload(brain.events, events(text, tally.last_line), settled)
    kept.forget()
    click.echo(str(tally))
    return tally


def _resumed(brain: Brain, file: Path, tally: Tally, events: Events, console: Console) -> Tally:
    """Return the tally to go on from: the one given only if the server still has what it counts.

    The same address may by now lead to another database. The last lines known to be stored are sent again:
    where they are new to the server, so may be all lines before them.
    """
    first, last = tally.proof
    if not last:
        return Tally()
    found: list[Settled] = []
    with file.open("rb") as raw, open_text(raw, file) as text:
        again = takewhile(lambda numbered: numbered[0] <= last, events(text, first))
        upload(brain.events, again, found.append)
    new = sum(part.accepted for part in found)
    if not new:
        console.print(f"Going on after line {tally.last_line:,}.")
        return tally
    console.print(
        f"This server did not have {new:,} of the last events that an interrupted import had stored: "
        "beginning with the first line. They were stored to find out, and count as duplicates below."
    )
    return Tally()


def _events(
    records: Iterator[NumberedRecord], make: Callable[[int, Record], Event], after: int
) -> Iterator[NumberedEvent]:
    """Make the events of the lines below `after`."""
    for number, record in records:
        if number <= after:
            continue
        if isinstance(record, BadLine):
            yield number, record
            continue
        try:
            yield number, make(number, record)
        except (ValueError, TypeError) as error:
            yield number, BadLine(number, "", str(error))


def _tell_bad_lines(console: Console, bad_lines: Sequence[BadLine], told: int) -> None:
    """Print the first bad lines of a file; their number stands in the summary."""
    for bad in bad_lines[: max(0, _SHOWN_BAD_LINES - told)]:
        console.print(str(bad), markup=False, highlight=False, soft_wrap=True)
    if told < _SHOWN_BAD_LINES < told + len(bad_lines):
        console.print("Further bad lines are only counted.")
