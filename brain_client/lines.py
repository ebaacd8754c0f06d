"""Reads the lines of CSV and JSONL files as numbered records, bad ones included."""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, TextIO

from brain_client.records import BadLine

Record = Mapping[str, object]
NumberedRecord = tuple[int, Record | BadLine]

READERS: dict[str, Callable[[TextIO], Iterator[NumberedRecord]]] = {}


def open_text(raw: BinaryIO, path: Path) -> TextIO:
    """Decode and, by the name's ending, decompress.

    Bytes that are not UTF-8 become lone surrogates, which no event takes: their line is reported, the rest of
    the file is read.
    """
    plain = gzip.open(raw) if path.suffix == ".gz" else raw  # noqa: SIM115 — closed with the text
    return io.TextIOWrapper(plain, encoding="utf-8-sig", errors="surrogateescape", newline="")


def reader_for(path: Path) -> Callable[[TextIO], Iterator[NumberedRecord]]:
    """Return the reader for .csv, .jsonl or .ndjson, .gz or not. Raises ValueError for other names."""
    kind = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    if kind not in READERS:
        raise ValueError(f"{path.name}: the name must end in .csv, .jsonl or .ndjson, with .gz or without")
    return READERS[kind]


def csv_records(text: TextIO) -> Iterator[NumberedRecord]:
    """Yield the rows below the header, without empty cells, by the number of the line where each ends."""
    rows = csv.reader(text)
    header = next(rows, [])
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield rows.line_num, BadLine(rows.line_num, "", str(error))
            continue
        if len(row) == len(header):
            yield rows.line_num, {name: cell for name, cell in zip(header, row, strict=True) if cell}
        elif row:
            reason = f"has {len(row)} columns where the header has {len(header)}"
            yield rows.line_num, BadLine(rows.line_num, "", reason)


def jsonl_records(text: TextIO) -> Iterator[NumberedRecord]:
    """Yield the objects of a file with one on each line; blank lines are skipped."""
    for number, line in enumerate(text, start=1):
        if line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, BadLine(number, "", f"not JSON: {error}")
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            yield number, BadLine(number, "", "not a JSON object")


READERS.update({".csv": csv_records, ".jsonl": jsonl_records, ".ndjson": jsonl_records})
