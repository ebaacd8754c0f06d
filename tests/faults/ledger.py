"""What was sent to a system and what it answered: on disk before anything else happens, outside the system.

A line of JSON before each operation and one after it. An operation without its second line was interrupted:
nobody knows what became of it.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Self


class Outcome(StrEnum):
    """What is known of an operation."""

    OK = "ok"  # acknowledged: it must last
    FAILED = "failed"  # refused for good: it must have changed nothing
    UNKNOWN = "unknown"  # no answer, or one that does not say: wholly done or not at all


@dataclass(frozen=True, slots=True)
class Answer:
    """How an operation ended; the counts are those of an acknowledgement, the code that of a failure."""

    outcome: Outcome
    accepted: int = 0
    duplicates: int = 0
    code: str = ""


@dataclass(frozen=True, slots=True)
class Operation:
    """What was sent together, by id."""

    number: int
    ids: tuple[str, ...]
    answer: Answer


class Ledger:
    """Writes a ledger. Safe for threads; every line is on disk when its method returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._count = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def sending(self, ids: Sequence[str]) -> int:
        """Note what is about to be sent; return the operation's number."""
        with self._lock:
            self._count += 1
            number = self._count
        self._write({"number": number, "ids": list(ids)})
        return number

    def answered(self, number: int, answer: Answer) -> None:
        """Note what the system said."""
        self._write(
            {
                "number": number,
                "outcome": answer.outcome,
                "accepted": answer.accepted,
                "duplicates": answer.duplicates,
                "code": answer.code,
            }
        )

    def _write(self, line: dict[str, object]) -> None:
        os.write(self._file, (json.dumps(line) + "\n").encode())  # whole: the file is opened to append
        os.fsync(self._file)


def read(path: Path) -> list[Operation]:
    """Return what a ledger says, in the order in which it was sent."""
    ids: dict[int, tuple[str, ...]] = {}
    answers: dict[int, Answer] = {}
    with path.open() as lines:
        for line in map(json.loads, lines):
            if "ids" in line:
                ids[line["number"]] = tuple(line["ids"])
            else:
                outcome = Outcome(line["outcome"])
                answers[line["number"]] = Answer(outcome, line["accepted"], line["duplicates"], line["code"])
    nothing = Answer(Outcome.UNKNOWN)
    return [Operation(number, sent, answers.get(number, nothing)) for number, sent in sorted(ids.items())]
